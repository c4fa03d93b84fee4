"""Rate limit: requests a second of each API key, or of each address while there are no keys."""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from kato_consul.proxy.http import CALLER
from kato_consul.proxy.server.api_keys import PROBES
from kato_consul.proxy.server.measuring import Meter, Rejection
from kato_consul.proxy.server.refusals import refuse

MAX_CALLERS = 10_000
"""Callers that are remembered before those are forgotten whose bucket is full again."""


class TokenBuckets:
    """A token bucket for each caller, which holds the tokens of one second, and at least one.

    A bucket is kept as the time at which it will be full (the generic cell rate algorithm, ITU-T
    I.371): one number, which needs no timer.

    Args:
        rate: tokens a second, above 0.
        clock: returns the time in seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._tolerance = max(1.0, self._interval)
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._forget_from = MAX_CALLERS

    def take(self, caller: str) -> float:
        """Take a token.

        Returns:
            0, or the seconds until there is a token.
        """
        now = self._clock()
        full_at = max(now, self._full_at.get(caller, now)) + self._interval
        wait = full_at - now - self._tolerance
        if wait > 1e-9:
            return wait
        if len(self._full_at) >= self._forget_from:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
            # If few can be forgotten, not with each request: twice as many may come before.
            self._forget_from = max(MAX_CALLERS, 2 * len(self._full_at))
        self._full_at[caller] = full_at
        return 0.0


class RateLimited:
    """An ASGI middleware that answers too many requests of a caller with a 429."""

    def __init__(self, app: ASGIApp, rate: float, meter: Meter) -> None:
        self._app = app
        self._buckets = TokenBuckets(rate)
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["path"] not in PROBES:
            wait = self._buckets.take(_caller(scope))
            if wait:
                self._meter.rejected(Rejection.RATE)
                header = b"retry-after", str(math.ceil(wait)).encode()
                detail = f"too many requests: try again in {math.ceil(wait)} s"
                await refuse(scope, send, 429, detail, [header])
                return
        await self._app(scope, receive, send)


def _caller(scope: Scope) -> str:
    name: str | None = scope.get(CALLER)
    if name is not None:
        return f"key {name}"
    client = scope["client"]
    return client[0] if client else "unix socket"
