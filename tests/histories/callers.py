"""Callers: what each of them asks for next, chosen by a seed."""

import itertools
import random
import uuid

from kato_consul.errors import KatoAnswerError, KatoConsulError
from tests.histories.calls import Event, Request
from tests.histories.retries import Retries

PAUSE = 0.02
"""Longest time in seconds between two calls of a caller."""

CLEARED = 0.2
"""Share of the keys whose memory is cleared, and not learned: what is learned can be read in the
end, and what was cleared cannot."""

METHODS = {"observe": 80, "observe_sequence": 6, "learn": 3, "predictions": 4, "stm": 7}
"""How often each method is called."""

KEYED = 0.25
"""Share of the observations and learns with an idempotency key."""

REPEATED = 0.2
"""Share of the calls with an idempotency key that are repeated although they succeeded."""


class Caller:
    """One caller, which makes one call after the other.

    Args:
        name: unique in the run.
        seed: the run's.
        keys: number of sessions.
        retries: requests that are to be made again, also of other processes.
    """

    def __init__(self, name: str, seed: int, keys: int, retries: Retries) -> None:
        self._name = name
        self._rng = random.Random(f"{seed} {name}")
        self._keys = [f"user-{number}" for number in range(keys)]
        self._cleared = set(self._keys[: round(keys * CLEARED)])
        self._retries = retries
        self._numbers = itertools.count(1)
        self._follow_up: Request | None = None

    def pause(self) -> float:
        """Return the seconds before the next call."""
        return self._rng.uniform(0.0, PAUSE)

    def next_request(self) -> Request:
        """Return what to ask for next."""
        if self._follow_up is not None:
            request, self._follow_up = self._follow_up, None
            return request
        return self._retries.take() or self._new_request()

    def note(self, request: Request, error: Exception | None) -> None:
        """Note how a call ended: what may be applied is made again in another process."""
        if request.idempotency_key is None or isinstance(error, KatoAnswerError):
            return
        if isinstance(error, KatoConsulError) or self._rng.random() < REPEATED:
            self._retries.put(request)

    def _new_request(self) -> Request:
        rng = self._rng
        key = rng.choice(self._keys)
        (method,) = rng.choices(list(METHODS), list(METHODS.values()))
        if method == "learn" and key in self._cleared:
            # What is in it is read first: in the end nothing shows what a clear has removed.
            self._follow_up = Request(key, "clear_stm")
            return Request(key, "stm")
        count = {"observe": 1, "observe_sequence": rng.randint(2, 6)}.get(method, 0)
        keyed = rng.random() < KEYED and method in ("observe", "observe_sequence", "learn")
        return Request(
            key,
            method,
            tuple(self._new_event() for _ in range(count)),
            chunk=rng.choice([2, 100]),
            idempotency_key=str(uuid.UUID(int=rng.getrandbits(128))) if keyed else None,
        )

    def _new_event(self) -> Event:
        symbol = f"{self._name} {next(self._numbers):04}"
        return (symbol, f"{symbol}, second")  # a memory of one symbol makes no pattern
