"""Load tracking: in-flight requests and latency of each instance, as this client measures them.

The cost of an instance is Finagle's peak EWMA: its mean latency times the requests in flight plus
the next one. The mean jumps up to each slower reply and decays within about `DECAY` seconds. So one
slow reply is enough to send requests elsewhere, and an instance that hangs becomes more expensive
with each request in flight.

Measuring load and choosing an instance are independent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

DECAY = 10.0
"""Seconds in which an old mean loses 63 % of its weight (``decayTime`` of Finagle, default of
tower)."""

UNMEASURED_LATENCY = 1.0
"""Seconds that an instance without any reply counts as taking per request in flight. So it is tried
at once, but by one request only (Finagle's ``Penalty``)."""

MIN_FAILURE_LATENCY = 1.0
"""Seconds that a failure counts as having taken at least. Otherwise an instance that fails quickly
would attract all requests."""


@dataclass(slots=True)
class _Load:
    mean_latency: float = 0.0
    measured_at: float = -math.inf
    in_flight: set[object] = field(default_factory=set)


class LoadTracker:
    """Load and cost of instances, by uid.

    Threads share it. In-flight requests are a set of tokens, since adding to a set is atomic and
    incrementing a count is not.
    """

    __slots__ = ("_loads",)

    def __init__(self) -> None:
        self._loads: dict[str, _Load] = {}

    def started(self, uid: str) -> object:
        """Record that a request is sent to the instance. Return its token for `finished`."""
        load = self._loads.get(uid)
        if load is None:
            load = self._loads.setdefault(uid, _Load())
        token = object()
        load.in_flight.add(token)
        return token

    def abandoned(self, uid: str, token: object) -> None:
        """Record that the caller gave up on the request. This says nothing about the instance."""
        load = self._loads.get(uid)
        if load is not None:
            load.in_flight.discard(token)

    def finished(
        self, uid: str, token: object, now: float, took: float, *, succeeded: bool
    ) -> None:
        """Record that the request ended after ``took`` seconds."""
        load = self._loads.get(uid)
        if load is None:
            return
        load.in_flight.discard(token)
        took = took if succeeded else max(took, MIN_FAILURE_LATENCY)
        if took > load.mean_latency or load.measured_at == -math.inf:
            load.mean_latency = took
        else:
            old = math.exp((load.measured_at - now) / DECAY)
            load.mean_latency = load.mean_latency * old + took * (1 - old)
        load.measured_at = now

    def outstanding(self, uid: str) -> int:
        """Return the number of requests in flight."""
        load = self._loads.get(uid)
        return 0 if load is None else len(load.in_flight)

    def mean_latency(self, uid: str, now: float) -> float:
        """Return the mean latency in seconds, decayed since the last reply; 0 before the first."""
        load = self._loads.get(uid)
        if load is None or load.measured_at == -math.inf:
            return 0.0
        return load.mean_latency * math.exp(min(0.0, load.measured_at - now) / DECAY)

    def cost(self, uid: str, now: float) -> float:
        """Return the seconds that one more request is expected to take."""
        load = self._loads.get(uid)
        if load is None or load.measured_at == -math.inf:
            return UNMEASURED_LATENCY * self.outstanding(uid)
        return self.mean_latency(uid, now) * (len(load.in_flight) + 1)

    def remove(self, uids: Iterable[str]) -> None:
        """Remove instances that left the pool."""
        for uid in uids:
            self._loads.pop(uid, None)
