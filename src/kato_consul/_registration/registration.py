"""Putting instances into Consul, and taking them out: all of them, or none.

Registering is idempotent: the agent keeps the state of a check that is registered again, so an
instance that passes does not flap. What a run put in is taken out again when the run fails; what
was there before stays.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi, ConsulCall, T, execute
from kato_consul._consul.blocking_query import BURST, RATE, SLACK, TokenBucket, next_index
from kato_consul._consul.retrying_call import execute_with_retry
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import INFO_FIELDS, read_info
from kato_consul._registration.reconciler import Checks, compare_with_pool, in_maintenance
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
    DefinitionError,
    NotPassing,
)
from kato_consul.models import Health, Instance, Snapshot

ROLL_BACK_WITHIN = 3.0
"""Seconds for taking one instance out again: the job is failing already, and somebody waits."""

LATE_REGISTRATION_WITHIN = 0.5
"""Seconds after which a registration that was cut off has landed, if the agent lives: it is local,
and takes it milliseconds."""

USABLE = (Health.PASSING, Health.WARNING)
"""In these, clients use an instance."""

CONSUL_WITHIN = 10.0
"""Seconds that an agent which does not answer is given to: one that was started with us, or that
is between two leaders (an election takes a few seconds)."""


class Registration:
    """Flows for a set of instances, on one agent."""

    def __init__(
        self,
        api: ConsulApi,
        state: RegistrarState,
        *,
        clock: Clock,
        random: Random,
        on_event: EventSink,
        consul_within: float = CONSUL_WITHIN,
    ) -> None:
        self._calls = api
        self._tending = state
        self._clock = clock
        self._random = random
        self._say = on_event
        self._consul_within = consul_within
        self.added: list[str] = []
        """Ids that were not in the agent before: what has to be taken out when the run fails."""
        self._unconfirmed: set[str] = set()
        """Those among them whose registration was sent, and has no answer yet."""

    def register_all(self) -> Flow[None]:
        """Flow: register all. Whoever runs it runs `roll_back` when it fails or is interrupted.

        Raises:
            ConsulError: the agent did not answer in time, or would not have a definition.
        """
        before = yield from self._execute(self._calls.agent_services())
        checks: Checks = {}
        if before.keys() & self._tending.instances.keys():  # one of them may be in maintenance mode
            checks = yield from self._execute(self._calls.agent_checks())
        for one in self._tending.instances.values():
            yield from self._register_one(one, before.get(one.definition.id), checks)

    def wait_until_passing(self, wait: float) -> Flow[None]:
        """Flow: wait until all are passing for clients, or in warning, in which clients use them:
        a KATO on a machine whose processor is busy calls itself degraded (3.10.1: above 80 %).

        Raises:
            NotPassing: somebody was not within ``wait`` seconds.
        """
        until = self._clock() + wait
        definitions = [one.definition for one in self._tending.instances.values()]
        for service in sorted({one.name for one in definitions}):
            waiting = {one.id: one for one in definitions if one.name == service}
            yield from self._wait_for_service(service, waiting, until, wait)

    def publish_metadata(self) -> Flow[None]:
        """Flow: ask each instance what it is, and add that to what Consul has of it.

        For a startup job; where somebody stays, the prober does it. That it cannot be found out is
        told, not raised: where the job runs the instances may be out of reach.
        """
        checks = yield from self._execute(self._calls.agent_checks())
        for one in self._tending.instances.values():
            if one.definition.probe is None:
                continue
            before = one.info
            yield from read_info(one, self._say)
            if one.info != before:
                yield from self._register(one, checks)
        yield from compare_with_pool(self._tending, self._calls, {}, self._say)

    def deregister_all(self) -> Flow[None]:
        """Flow: take all out. One that is not there is as good as taken out.

        Raises:
            ConsulError: the first one that came; the others were taken out all the same.
        """
        # Asked first: agents before 1.9 answer 200 for an id that they never heard of.
        there = yield from self._execute(self._calls.agent_services())
        first: ConsulError | None = None
        for service_id in [*self._tending.instances, *self._tending.to_deregister]:
            try:
                if service_id in there:
                    yield from self._execute(self._calls.deregister(service_id))
                    self._say(RegistrarEvent.DEREGISTERED, service_id)
                elif service_id in self._tending.instances:
                    self._say(RegistrarEvent.NOT_REGISTERED, service_id)
            except ConsulError as error:
                first = first or error
        if first is not None:
            raise first

    def registered(self) -> Flow[list[ServiceDefinition]]:
        """Flow: the instances of any service that the agent has, whoever registered them."""
        there = yield from self._execute(self._calls.agent_services())
        return [
            _as_defined(service_id, one)
            for service_id, one in there.items()
            if one.get("Port")  # what listens nowhere is no instance
        ]

    def roll_back(self) -> Flow[None]:
        """Flow: take out what `put_in` added; what cannot be taken out is told, not raised."""
        while self.added:
            yield from self._roll_back_one(self.added.pop())
        if self._unconfirmed:
            # One that was under way when the run ended may land behind its own deregistration.
            yield Sleep(LATE_REGISTRATION_WITHIN)
            for service_id in sorted(self._unconfirmed & (yield from self._still_registered())):
                yield from self._roll_back_one(service_id)
            self._unconfirmed.clear()

    def _roll_back_one(self, service_id: str) -> Flow[None]:
        try:
            call = self._calls.deregister(service_id).within(ROLL_BACK_WITHIN)
            if (yield from execute(call)):
                self._say(RegistrarEvent.ROLLED_BACK, service_id)
        except ConsulError as error:
            # An agent without a leader takes it out, and answers only when it gave up on servers.
            if service_id in (yield from self._still_registered(unless=service_id)):
                self._say(RegistrarEvent.ROLLBACK_FAILED, service_id, why=str(error))
            else:
                self._say(RegistrarEvent.ROLLED_BACK, service_id)

    def _still_registered(self, unless: str = "") -> Flow[set[str]]:
        """The ids that the agent has; ``unless`` it does not tell: then that one."""
        try:
            there = yield from execute(self._calls.agent_services().within(ROLL_BACK_WITHIN))
        except ConsulError:
            return {unless}
        return set(there)

    def _register_one(
        self, one: ManagedInstance, there: Mapping[str, Any] | None, checks: Checks
    ) -> Flow[None]:
        service_id = one.definition.id
        if there is None:
            self.added.append(service_id)
            self._unconfirmed.add(service_id)
        else:  # what was learned before stays until it is learned anew
            meta = there.get("Meta") or {}
            one.info = {name: meta[name] for name in INFO_FIELDS if name in meta}
        try:
            yield from self._register(one, checks)
        except ConsulError as error:
            if there is None and isinstance(error, ConsulDenied | ConsulRejected):
                self.added.remove(service_id)  # never in: there is nothing to take out
            if not isinstance(error, ConsulUnreachable):  # answered, whatever the answer
                self._unconfirmed.discard(service_id)
            raise
        self._unconfirmed.discard(service_id)
        one.registered = True
        self._say(
            RegistrarEvent.REGISTERED if there is None else RegistrarEvent.UPDATED,
            service_id,
        )

    def _register(self, one: ManagedInstance, checks: Checks) -> Flow[None]:
        entry = self._tending.payload(one)
        # One that is in maintenance mode stays there.
        replaced = not in_maintenance(checks, entry.id)
        yield from self._execute(self._calls.register(entry, replace_checks=replaced))

    def _execute(self, call: ConsulCall[T]) -> Flow[T]:
        return execute_with_retry(call, self._consul_within, clock=self._clock, random=self._random)

    def _wait_for_service(
        self, service: str, waiting: dict[str, ServiceDefinition], until: float, wait: float
    ) -> Flow[None]:
        """What clients see is waited for: the catalog's view, by a blocking query."""
        bucket = TokenBucket(RATE, BURST)
        pauses = full_jitter(CONSUL_WAIT, self._random)
        index = 0
        snapshot: Snapshot | None = None
        while waiting:
            left = until - self._clock()
            if left <= 0:
                instances = snapshot.instances if snapshot else ()
                raise NotPassing(
                    wait, _reasons(waiting, instances, (yield from self._check_outputs()))
                )
            if pause := bucket.take(self._clock()):
                yield Sleep(min(pause, left))
                left = max(0.0, until - self._clock())
            call = self._calls.health(service, index=index, wait=left if index else None)
            try:
                snapshot = yield from execute(call.within(left + left / 16 + SLACK))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                left = until - self._clock()
                if left <= 0:
                    raise
                index = 0
                yield Sleep(min(next(pauses) + (error.retry_after or 0.0), left))
                continue
            pauses = full_jitter(CONSUL_WAIT, self._random)
            index = next_index(index, snapshot.index)
            for one in snapshot.instances:
                if one.health in USABLE and _is_ours(one, waiting.get(one.id)):
                    del waiting[one.id]
                    self._say(RegistrarEvent.PASSING, one.id, status=one.health.value)

    def _check_outputs(self) -> Flow[Mapping[str, Mapping[str, Any]]]:
        """What the agent's checks say, if it tells."""
        try:
            return (yield from execute(self._calls.agent_checks()))
        except ConsulError:
            return {}


def _as_defined(service_id: str, one: Mapping[str, Any]) -> ServiceDefinition:
    """What the agent has, as a definition. Others may have registered what we would refuse, such as
    an address with a port in it; it can be taken out all the same."""
    address = one.get("Address") or ""
    try:
        return ServiceDefinition(
            name=one["Service"], id=service_id, address=address, port=one["Port"]
        )
    except DefinitionError:
        return ServiceDefinition(name=one["Service"] or "?", id=service_id, port=one["Port"])


def _is_ours(seen: Instance, one: ServiceDefinition | None) -> bool:
    """Another agent may have an instance with the same id; where it is tells them apart."""
    return one is not None and one.port == seen.port and one.address in ("", seen.address)


def _reasons(
    waiting: Mapping[str, ServiceDefinition],
    instances: Iterable[Instance],
    checks: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Why each is not passing: its health in the catalog, and what its check says in the agent.

    The agent holds back changes of the output alone (``check_update_interval``, 5 minutes), so the
    catalog may still have nothing to say.
    """
    seen = {one.id: one for one in instances if _is_ours(one, waiting.get(one.id))}
    said = {check["ServiceID"]: " ".join(check["Output"].split()) for check in checks.values()}
    return {
        one: f"{seen[one].health}, {said.get(one) or seen[one].output}"
        if one in seen
        else "not in the catalog yet, or the token may not read it there (node:read, service:read)"
        for one in sorted(waiting)
    }
