"""Draining: clients are sent elsewhere first, and the instance ends when nobody needs it any more.

Maintenance mode is Consul's own word for it: clients see it at once and choose others, and what was
under way comes to its end. Whether they have gone is seen in KATO itself: no request under way but
ours (``/concurrency``), and none that came in since the last look but ours (``/stats``; on KATO
3.10.1 ``/metrics`` repeats itself for 5 s), for a moment. An instance that does not tell is given
the whole time, and so is one with several worker processes, each of which counts for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kato_consul._consul.api import ConsulApi, execute
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Outcome, Reply, Send, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import field_of
from kato_consul._registration.worker_count import count_workers
from kato_consul.errors import ConsulRejected

POLL_INTERVAL = 0.25
"""Seconds between looks at the instance."""

IDLE_FOR = 1.0
"""Seconds without anybody's request after which clients have gone: they hear of it within
milliseconds, and a call that was under way comes back, if at all, with its next attempt."""

ANSWER_WITHIN = 2.0
"""Seconds one look may take."""


def enter(api: ConsulApi, service_id: str, reason: str, on_event: EventSink) -> Flow[None]:
    """Flow: put an instance into maintenance mode.

    Raises:
        ConsulRejected: the agent has no such instance.
        ConsulError: it does not answer, or does not let us.
    """
    if not (yield from execute(api.maintenance(service_id, reason))):
        raise ConsulRejected(api.address, f"draining {service_id!r}", 404, _ELSEWHERE)
    on_event(RegistrarEvent.DRAINING, service_id, reason=reason)


def leave(api: ConsulApi, service_id: str, on_event: EventSink) -> Flow[None]:
    """Flow: take an instance out of maintenance mode. Raises as `enter`."""
    if not (yield from execute(api.maintenance(service_id, None))):
        raise ConsulRejected(api.address, f"resuming {service_id!r}", 404, _ELSEWHERE)
    on_event(RegistrarEvent.RESUMED, service_id)


def wait_until_idle(
    definitions: Sequence[ServiceDefinition], within: float, *, clock: Clock, on_event: EventSink
) -> Flow[bool]:
    """Flow: wait until nobody asks the instances anything, ``within`` seconds at most; have all
    come to that?"""
    until = clock() + within
    waiting = [_Activity(one) for one in definitions]
    while waiting and until > clock():
        for one in list(waiting):
            yield from one.look(clock)
            if one.quiet_for(clock()) >= IDLE_FOR:
                on_event(
                    RegistrarEvent.DRAINED, one.definition.id, why=f"no request for {IDLE_FOR:g} s"
                )
                waiting.remove(one)
        if waiting:
            yield Sleep(min(POLL_INTERVAL, max(until - clock(), 0.0)))
    for one in waiting:
        on_event(RegistrarEvent.STILL_BUSY, one.definition.id, why=one.why)
    return not waiting


@dataclass
class _Activity:
    """What is seen of one instance's work."""

    definition: ServiceDefinition
    served: float | None = None
    quiet_since: float | None = None
    workers: int | None = None
    why: str = "it does not tell how busy it is"

    def quiet_for(self, now: float) -> float:
        """Seconds without anybody's request."""
        return 0.0 if self.quiet_since is None else now - self.quiet_since

    def look(self, clock: Clock) -> Flow[None]:
        """One look: two requests of ours, and at first those that count the processes."""
        if self.workers is None:
            self.workers = yield from count_workers(self.definition.origin, ANSWER_WITHIN)
        if self.workers != 1:
            if self.workers is not None:
                self.why = "it has several worker processes, each of which counts for itself"
            return
        under_way = yield from self._number("/concurrency", "current", "concurrent_requests")
        served = yield from self._number("/stats?minutes=0", *_SERVED)
        if under_way is None or served is None:
            return
        # The first of them is itself under way when it is answered.
        under_way -= 1
        others = 0.0 if self.served is None else max(served - self.served - OWN_REQUESTS, 0.0)
        first, self.served = self.served is None, served
        self.why = f"{under_way:g} requests under way, {others:g} since the look before"
        if under_way > 0 or others > 0:
            self.quiet_since = None
        elif not first and self.quiet_since is None:
            self.quiet_since = clock()
        if self.quiet_since is not None:
            self.why = f"quiet by now, but not for {IDLE_FOR:g} s"

    def _number(self, target: str, part: str, *names: str) -> Flow[float | None]:
        outcome: Outcome = yield Send(self.definition.origin, "GET", target, ANSWER_WITHIN)
        if not isinstance(outcome, Reply):
            return None
        found = field_of(outcome, part)
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) else None


OWN_REQUESTS = 2
"""Requests of one look."""

_SERVED = ("summary", "performance", "total_requests")

_ELSEWHERE = "the agent has no such instance. Ask the agent that it was registered with"
