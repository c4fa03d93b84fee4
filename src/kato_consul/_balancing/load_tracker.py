"""How busy and how slow instances are, as this client sees it. Who picks by it does not know how it
is measured, and this does not know who picks.

The cost of an instance is what Finagle calls peak EWMA: the average of its answers' times, which
jumps up to each slower one and sinks back within some `DECAY` seconds, times the requests that it
has in hand and the one to come. So one slow answer is enough to send work elsewhere, and one that
hangs grows dearer with each request in it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

DECAY = 10.0
"""Seconds in which an old average loses 63 % of its weight (Finagle's ``decayTime``, tower's
default)."""

UNMEASURED = 1.0
"""Seconds that a request counts as taking while an instance has not answered any: one that nothing
is known of is tried at once, and by one request only (Finagle's ``Penalty``)."""

FAILED = 1.0
"""Seconds that a failure counts as having taken at least: or a quick one would draw everybody."""


@dataclass(slots=True)
class _Load:
    average: float = 0.0
    measured: float = -math.inf
    under_way: set[object] = field(default_factory=set)


class LoadTracker:
    """Costs by uid. Threads may share it: a set takes each change at once, a count would not."""

    __slots__ = ("_loads",)

    def __init__(self) -> None:
        self._loads: dict[str, _Load] = {}

    def started(self, uid: str) -> object:
        """A request goes to the instance; the token of it is for `ended`."""
        load = self._loads.get(uid)
        if load is None:
            load = self._loads.setdefault(uid, _Load())
        token = object()
        load.under_way.add(token)
        return token

    def abandoned(self, uid: str, token: object) -> None:
        """The request ended, and tells nothing: whoever made it gave up."""
        load = self._loads.get(uid)
        if load is not None:
            load.under_way.discard(token)

    def finished(self, uid: str, token: object, now: float, took: float, *, good: bool) -> None:
        """The request ended after ``took`` seconds."""
        load = self._loads.get(uid)
        if load is None:
            return
        load.under_way.discard(token)
        took = took if good else max(took, FAILED)
        if took > load.average or load.measured == -math.inf:
            load.average = took
        else:
            old = math.exp((load.measured - now) / DECAY)
            load.average = load.average * old + took * (1 - old)
        load.measured = now

    def outstanding(self, uid: str) -> int:
        """Requests that it has in hand."""
        load = self._loads.get(uid)
        return 0 if load is None else len(load.under_way)

    def mean_latency(self, uid: str, now: float) -> float:
        """Seconds that an answer takes, sinking while there is none; 0 before the first."""
        load = self._loads.get(uid)
        if load is None or load.measured == -math.inf:
            return 0.0
        return load.average * math.exp(min(0.0, load.measured - now) / DECAY)

    def cost(self, uid: str, now: float) -> float:
        """Seconds that one more request may be expected to wait."""
        load = self._loads.get(uid)
        if load is None or load.measured == -math.inf:
            return UNMEASURED * self.outstanding(uid)
        return self.mean_latency(uid, now) * (len(load.under_way) + 1)

    def forget(self, uids: Iterable[str]) -> None:
        """These left the pool."""
        for uid in uids:
            self._loads.pop(uid, None)
