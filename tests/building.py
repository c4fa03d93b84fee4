"""Builders for tests: instances, snapshots, replies and failures."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul.models import Health, Instance, Snapshot
from kato_consul.testing.clock import ManualClock


def instance(
    id: str = "kato-1",  # noqa: A002 - Consul's name
    health: Health = Health.PASSING,
    *,
    address: str = "",
    weight: int = 1,
    output: str = "",
) -> Instance:
    """Return an instance of the service ``kato``. Its default address is derived from its id."""
    return Instance(id, "kato", address or f"{id}.test", 8000, health, weight=weight, output=output)


def snapshot(*instances: Instance, index: int = 1) -> Snapshot:
    """Return a snapshot of the service ``kato``."""
    return Snapshot("kato", instances, index)


def reply(status: int = 200, body: Any = b"", **headers: str) -> Reply:
    """Return a complete reply. A body that is not bytes is encoded as JSON; the header
    ``retry_after`` is ``retry-after``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def refused() -> Failure:
    """Return the failure of a refused connection: nothing was sent."""
    return Failure(Cause.CONNECT, bytes_sent=False, detail="refused")


def not_accepted() -> Failure:
    """Return the failure of a connection that was neither accepted nor refused in time."""
    error = TimeoutError("timed out")
    return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)


def hung() -> Failure:
    """Return the failure of a request that was sent and timed out."""
    return Failure(Cause.TIMEOUT, bytes_sent=True, detail="")


def cut() -> Failure:
    """Return the failure of a request that was sent, before the connection was cut."""
    return Failure(Cause.CUT, bytes_sent=True, detail="reset")


class ScriptEnds(Exception):
    """The script has no outcome for a request."""


def script(
    outcomes: Iterable[Outcome], clock: ManualClock | None = None
) -> Callable[[Send], Outcome]:
    """Return a function that returns the outcomes one by one. With a ``clock``, one that times out
    advances it by the timeout."""
    remaining = list(outcomes)

    def answer(send: Send) -> Outcome:
        if not remaining:
            raise ScriptEnds(f"{send.method} {send.target}")
        outcome = remaining.pop(0)
        if clock and isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT:
            clock.advance(send.timeout)
        return outcome

    return answer
