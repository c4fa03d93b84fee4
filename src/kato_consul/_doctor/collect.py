"""Fact collection: queries Consul first, then each instance, as a client does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, T, call_consul
from kato_consul._consul.permissions import read_permissions
from kato_consul._consul.snapshot_decoder import OWN_ADDRESS, AddressChoice
from kato_consul._discovery.snapshot_codec import static_snapshot
from kato_consul._doctor.facts import DeploymentFacts, InstanceFacts
from kato_consul._doctor.gateway import gateway_of, is_envoy, is_proxy, repeats_posts
from kato_consul._doctor.registrations import (
    Registrations,
    owner_of,
    read_registration,
    registrations_call,
    state_of,
)
from kato_consul._flow import JSON_HEADERS, Cause, Failure, Flow, Outcome, Reply, Send, Sleep
from kato_consul._registration.health_probe import PROBE_NODE_ID
from kato_consul._registration.health_report import (
    HUNG_NOTE,
    connect_timed_out,
    read_report,
    shows_hang,
)
from kato_consul._registration.instance_info import field_of
from kato_consul._registration.worker_count import find_workers, start_time
from kato_consul._requests.gateway import gateway_refusal
from kato_consul._runtime_defaults import clock
from kato_consul.errors import ConsulDenied, ConsulError, ConsulUnreachable
from kato_consul.models import Instance

INSTANCE_TIMEOUT = 5.0
"""Seconds that an instance has for each response."""

COUNT_WITHIN = 5.0
"""Seconds that counting the worker processes of an instance may take: some 10 ms a connection, but
all of it is waited for."""

STORE_READ_PATH = "/sessions/kato-consul-doctor/exists"
"""The cheapest request that needs the store: 200 when it works, 500 when it does not."""

NO_LEADER = "No cluster leader"
"""Consul's error message (structs.ErrNoLeader)."""

SESSION_TTL = 60
"""Seconds after which KATO drops the session that is created here, should its deletion fail."""

FLAPPING_READS, FLAPPING_INTERVAL = 3, 1.3
"""Reads of a registration that must all differ, and the seconds between them: registrars read their
agent every second. Usually the first one shows that nothing has changed, and is the only one."""

WallClock = Callable[[], float]
"""Returns seconds since the epoch, as `time.time` does."""


@dataclass
class FactCollector:
    """Flows that collect the facts about one service."""

    api: ConsulApi
    service: str
    keepalive: float
    now: WallClock
    address: AddressChoice = OWN_ADDRESS
    registrations: Registrations = field(default_factory=dict)
    """Consul's records of the instances, as `from_consul` has read them."""

    def from_consul(self) -> Flow[DeploymentFacts]:
        """Flow: collect what Consul reports, including the list of instances."""
        failures = _ConsulFailures()
        try:
            return (yield from self._from_consul(failures))
        except ConsulUnreachable as error:
            return DeploymentFacts(self.service, self.keepalive, unreachable=str(error))

    def _from_consul(self, failures: "_ConsulFailures") -> Flow[DeploymentFacts]:
        leader_query = self.api.leader()
        response: Outcome = yield leader_query.send
        skew = self._skew(response) if isinstance(response, Reply) else None
        # An agent that hangs has had its time.
        again = leader_query if isinstance(response, Reply) else leader_query.within(0)
        leader = yield from failures.execute(again)
        snapshot = yield from failures.execute(self.api.health(self.service, address=self.address))
        records = (yield from failures.execute(registrations_call(self.api, self.service))) or {}
        listed = {(one.node, one.id) for one in snapshot.instances} if snapshot else set()
        self.registrations = {key: one for key, one in records.items() if key in listed}
        agent_checks = yield from failures.execute(self.api.agent_checks())
        if any(NO_LEADER in message for message in failures.failing.values()):
            leader = ""  # without a leader, the query for it fails like all others, after a while
        return DeploymentFacts(
            self.service,
            self.keepalive,
            leader=leader,
            skew=skew,
            failing=failures.failing,
            denied=failures.denied,
            filtered=snapshot is not None and snapshot.filtered,
            unreadable=snapshot.unreadable if snapshot else (),
            allowed=(yield from read_permissions(self.api, self.service)),
            instances=None
            if snapshot is None
            else tuple(
                InstanceFacts(
                    instance,
                    registration=read_registration(
                        self.registrations.get((instance.node, instance.id)), agent_checks or {}
                    ),
                )
                for instance in snapshot.instances
            ),
        )

    def flapping(self) -> Flow[dict[tuple[str, str], tuple[str, ...]]]:
        """Flow: return which registrations have changed since `from_consul`, and go on changing, by
        node and id, with the registrars that were seen. None if Consul cannot be read."""
        seen = [self.registrations]
        changed = set(self.registrations)
        while changed and len(seen) <= FLAPPING_READS:
            if len(seen) > 1:
                yield Sleep(FLAPPING_INTERVAL)
            try:
                now = yield from call_consul(registrations_call(self.api, self.service))
            except ConsulError:
                return {}
            changed = {
                key for key in changed & now.keys() if state_of(now[key]) != state_of(seen[-1][key])
            }
            seen.append(now)
        return {key: tuple(sorted({owner_of(records[key]) for records in seen})) for key in changed}

    def from_instance(self, facts: InstanceFacts) -> Flow[InstanceFacts]:
        """Flow: add to ``facts`` what the instance reports itself."""
        instance = facts.instance
        health = yield from _get(instance, "/health")
        if isinstance(health, Failure):
            # The queue of connections of a hung instance may be full. Its registrar knows better.
            queue_full = connect_timed_out(health) and HUNG_NOTE in instance.output
            hung = shows_hang(health) or queue_full
            untrusted = health.cause is Cause.TLS
            return replace(facts, unreachable=str(health), hung=hung, untrusted=untrusted)
        if refusal := gateway_refusal(health):
            return replace(facts, refused=f"{health.status}: {refusal}")
        status = yield from _get(instance, "/status")
        if start_time(health) is None and _text(status, "base_processor_id") is None:
            return facts  # many services have a /health with a "status"
        proxy = is_proxy(health, status)
        store = yield from _use_store(instance)
        for reply in (status, store):  # /health may need no key where all else does
            if isinstance(reply, Reply) and (refusal := gateway_refusal(reply)):
                return replace(facts, refused=f"{reply.status}: {refusal}", proxy=proxy)
        report = read_report(health)
        skew = self._skew(health)
        gateway = gateway_of(health)
        workers = None
        if not proxy:  # through one, all processes of all instances answer
            workers = yield from find_workers(
                instance.origin, INSTANCE_TIMEOUT, COUNT_WITHIN, clock=clock, thorough=True
            )
        repeats = None
        if is_envoy(gateway):  # last: it may eject the instance for a moment
            repeats = yield from repeats_posts(instance.origin, INSTANCE_TIMEOUT)
        return replace(
            facts,
            health=report.status if report else None,
            issues=report.issues if report else (),
            skew=skew,
            store_status=store.status if isinstance(store, Reply) else None,
            version=_text(status, "version"),
            base_processor_id=_text(status, "base_processor_id"),
            proxy=proxy,
            gateway=gateway,
            repeats_posts=repeats,
            workers=None if workers is None else len(workers),
        )

    def _skew(self, reply: Reply) -> float | None:
        """Return how many seconds the clock behind a ``Date`` header is ahead of this machine's."""
        try:
            return parsedate_to_datetime(reply.headers["date"]).timestamp() - self.now()
        except (KeyError, ValueError):
            return None


def static_facts(service: str, keepalive: float, urls: Iterable[str]) -> DeploymentFacts:
    """Return the facts about the instances of a static list, before anything is sent to them."""
    instances = static_snapshot(service, urls).instances
    return DeploymentFacts(
        service, keepalive, uses_consul=False, instances=tuple(map(InstanceFacts, instances))
    )


class _ConsulFailures:
    """Executes calls, and records the errors of those that Consul denied or failed."""

    def __init__(self) -> None:
        self.denied: dict[str, str] = {}
        self.failing: dict[str, str] = {}

    def execute(self, call: ConsulCall[T]) -> Flow[T | None]:
        """Flow: execute a call and return its result, or record the error and return None.

        Raises:
            ConsulUnreachable: no response.
        """
        try:
            return (yield from call_consul(call))
        except ConsulUnreachable:
            raise
        except ConsulDenied as error:
            self.denied[call.what] = str(error)
        except ConsulError as error:
            self.failing[call.what] = str(error)
        return None


def _get(instance: Instance, target: str) -> Flow[Outcome]:
    outcome: Outcome = yield Send(instance.origin, "GET", target, INSTANCE_TIMEOUT)
    return outcome


def _use_store(instance: Instance) -> Flow[Outcome]:
    """Flow: return the first response that shows a failing store, or the last one.

    A full store serves reads, so a session is created too, and deleted.
    """
    outcome = yield from _get(instance, STORE_READ_PATH)
    if not (isinstance(outcome, Reply) and outcome.status == 200):
        return outcome
    body = msgspec.json.encode({"node_id": PROBE_NODE_ID, "ttl_seconds": SESSION_TTL})
    created: Outcome = yield Send(
        instance.origin, "POST", "/sessions", INSTANCE_TIMEOUT, JSON_HEADERS, body
    )
    if session := _text(created, "session_id"):
        yield Send(instance.origin, "DELETE", f"/sessions/{session}", INSTANCE_TIMEOUT)
    return created


def _text(outcome: Outcome, name: str) -> str | None:
    value: Any = field_of(outcome, name) if isinstance(outcome, Reply) else None
    return value if isinstance(value, str) else None
