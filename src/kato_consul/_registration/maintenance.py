"""Maintenance mode and draining: moves clients to other instances, and waits until they have.

Maintenance mode is Consul's own. Clients see it at once and choose other instances; requests in
progress complete. Whether clients have left is read from KATO itself: for `IDLE_FOR` seconds each
poll must find no request in progress (``/concurrency``) and no new request since the previous poll
(``/stats``; on KATO 3.10.1 ``/metrics`` repeats its last values for 5 s), except the polls. An
instance that does not report these numbers gets the whole drain time. An instance with several
worker processes does, too: each process counts only its own requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import call_consul
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Outcome, Reply, Send, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import field_of
from kato_consul._registration.worker_count import count_workers
from kato_consul.errors import ConsulRejected

ACTIVITY_POLL_INTERVAL = 0.25
"""Seconds from one poll of an instance's activity to the next."""

ACTIVITY_TIMEOUT = 2.0
"""Seconds that each request of a poll may take."""

REQUESTS_PER_POLL = 2
"""Requests that a poll itself adds to the instance's count."""

IDLE_FOR = 1.0
"""Seconds without a request of a client after which an instance is drained. Clients detect
maintenance mode within milliseconds. Only the next attempt of a call in progress may come later."""

_IN_PROGRESS = ("current", "concurrent_requests")
"""Path of the number of requests in progress, in the body of ``/concurrency``."""

_TOTAL_REQUESTS = ("summary", "performance", "total_requests")
"""Path of the number of requests served, in the body of ``/stats``."""

_NO_SUCH_INSTANCE = "the agent has no such instance. Use the agent that it was registered with"


def enter(api: ConsulApi, service_id: str, reason: str, on_event: EventSink) -> Flow[None]:
    """Flow: put an instance into maintenance mode.

    Raises:
        ConsulRejected: the agent has no such instance.
        ConsulError: the agent does not answer, or the token is not allowed to do this.
    """
    if not (yield from call_consul(api.maintenance(service_id, reason))):
        raise ConsulRejected(api.address, f"draining {service_id!r}", 404, _NO_SUCH_INSTANCE)
    on_event(RegistrarEvent.DRAINING, service_id, reason=reason)


def leave(api: ConsulApi, service_id: str, on_event: EventSink) -> Flow[None]:
    """Flow: end an instance's maintenance mode. Raises as `enter`."""
    if not (yield from call_consul(api.maintenance(service_id, None))):
        raise ConsulRejected(api.address, f"resuming {service_id!r}", 404, _NO_SUCH_INSTANCE)
    on_event(RegistrarEvent.RESUMED, service_id)


def wait_until_idle(
    definitions: Sequence[ServiceDefinition], within: float, *, clock: Clock, on_event: EventSink
) -> Flow[bool]:
    """Flow: wait until no client uses the instances, at most ``within`` seconds.

    Returns whether all became idle in time.
    """
    until = clock() + within
    waiting = [_Activity(definition) for definition in definitions]
    while waiting and until > clock():
        for activity in list(waiting):
            if (left := until - clock()) <= 0:
                break
            # An instance that answers slowly leaves time for the others.
            yield from activity.poll(clock, left / len(waiting))
            if activity.idle_for(clock()) >= IDLE_FOR:
                on_event(
                    RegistrarEvent.DRAINED,
                    activity.definition.id,
                    why=f"no request for {IDLE_FOR:g} s",
                )
                waiting.remove(activity)
        if waiting:
            yield Sleep(min(ACTIVITY_POLL_INTERVAL, max(until - clock(), 0.0)))
    for activity in waiting:
        on_event(RegistrarEvent.STILL_BUSY, activity.definition.id, why=activity.description)
    return not waiting


@dataclass
class _Activity:
    """Requests of clients to one instance, as far as polls reveal them."""

    definition: ServiceDefinition
    served: float | None = None
    idle_since: float | None = None
    workers: int | None = None
    description: str = "it did not report its number of requests in time"

    def idle_for(self, now: float) -> float:
        """Return the seconds without a request of a client."""
        return 0.0 if self.idle_since is None else now - self.idle_since

    def poll(self, clock: Clock, within: float) -> Flow[None]:
        """Flow: poll once: two requests, and before the first poll those that count the workers.

        All of them together may take ``within`` seconds.
        """
        until = clock() + within
        if self.workers is None:
            self.workers = yield from count_workers(
                self.definition.origin, ACTIVITY_TIMEOUT, within, clock=clock
            )
        if self.workers != 1:
            if self.workers is not None:
                self.description = (
                    "it has several worker processes, each of which counts only its own requests"
                )
            return
        in_progress = yield from self._read_number(until - clock(), "/concurrency", *_IN_PROGRESS)
        served = yield from self._read_number(until - clock(), "/stats?minutes=0", *_TOTAL_REQUESTS)
        if in_progress is None or served is None:
            self.idle_since = None  # unknown is not idle
            return
        in_progress -= 1  # the request to /concurrency itself
        previous, self.served = self.served, served
        new = 0.0 if previous is None else max(served - previous - REQUESTS_PER_POLL, 0.0)
        self.description = (
            f"{in_progress:g} requests in progress, {new:g} new since the previous poll"
        )
        if in_progress > 0 or new > 0:
            self.idle_since = None
        elif previous is not None and self.idle_since is None:
            self.idle_since = clock()
        if self.idle_since is not None:
            self.description = f"idle now, but for less than {IDLE_FOR:g} s"

    def _read_number(self, within: float, target: str, *path: str) -> Flow[float | None]:
        """Flow: read a number from the JSON body of ``target``; None if it is not there in time."""
        if within <= 0:
            return None
        timeout = min(ACTIVITY_TIMEOUT, within)
        outcome: Outcome = yield Send(self.definition.origin, "GET", target, timeout)
        if not isinstance(outcome, Reply):
            return None
        value = field_of(outcome, path[0])
        for name in path[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, int | float) else None
