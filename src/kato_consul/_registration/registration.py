"""Registration: registers and deregisters a set of instances, all or none.

Registering is idempotent: the agent keeps the state of a check that is registered again, so a
passing instance does not flap. If a run fails, the instances that it added are deregistered;
instances that were registered before stay.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import TokenBucket, next_index, query_timeout
from kato_consul._consul.call import ConsulCall, T, call_consul, call_consul_with_retry
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
from kato_consul.models import USABLE_HEALTH, Instance, Snapshot

ROLL_BACK_WITHIN = 3.0
"""Seconds that the rollback of one instance may take: the job has failed already, and its caller
waits."""

LATE_REGISTRATION_WITHIN = 0.5
"""Seconds after which an interrupted registration has been applied, if the agent is alive: the
agent is local, and applies it within milliseconds."""

CONSUL_WITHIN = 10.0
"""Seconds that an agent may take to become available: it may have been started together with the
registrar, or have no leader at the moment (an election takes a few seconds)."""


class Registration:
    """Flows that register and deregister a set of instances on one agent."""

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
        self._api = api
        self._state = state
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._consul_within = consul_within
        self.added: list[str] = []
        """Ids that were not in the agent before: they are deregistered if the run fails."""
        self._unconfirmed: set[str] = set()
        """Ids in `added` whose registration was sent and not answered yet."""

    def register_all(self) -> Flow[None]:
        """Flow: register all instances. If it fails or is interrupted, run `roll_back`.

        Raises:
            ConsulError: the agent did not answer in time, or refused a definition.
        """
        services = yield from self._execute(self._api.agent_services())
        checks: Checks = {}
        if services.keys() & self._state.instances.keys():  # one may be in maintenance mode
            checks = yield from self._execute(self._api.agent_checks())
        for instance in self._state.instances.values():
            yield from self._register_one(instance, services.get(instance.definition.id), checks)

    def wait_until_passing(self, wait: float) -> Flow[None]:
        """Flow: wait until clients see all instances as passing, or as in warning.

        Clients use an instance in warning. And KATO reports itself as degraded while the processor
        of its machine is busy (3.10.1: above 80 %).

        Raises:
            NotPassing: an instance was not passing within ``wait`` seconds.
        """
        until = self._clock() + wait
        definitions = [one.definition for one in self._state.instances.values()]
        for service in sorted({one.name for one in definitions}):
            waiting = {one.id: one for one in definitions if one.name == service}
            yield from self._wait_for_service(service, waiting, until, wait)

    def publish_metadata(self) -> Flow[None]:
        """Flow: read each instance's info and add it to its metadata in Consul.

        This is for a startup job; in a long-running registrar, the prober does it. Info that cannot
        be read is an event, not an error: the job may run where it cannot reach the instances.
        """
        checks = yield from self._execute(self._api.agent_checks())
        for instance in self._state.instances.values():
            if instance.definition.probe is None:
                continue
            before = instance.info
            yield from read_info(instance, self._on_event)
            if instance.info != before:
                yield from self._register(instance, checks)
        yield from compare_with_pool(self._state, self._api, {}, self._on_event)

    def deregister_all(self) -> Flow[None]:
        """Flow: deregister all instances. One that is not registered is not an error.

        Raises:
            ConsulError: the first error; the other instances were deregistered all the same.
        """
        # The list is read first: agents before 1.9 return 200 for an id that they do not have.
        services = yield from self._execute(self._api.agent_services())
        first_error: ConsulError | None = None
        for service_id in [*self._state.instances, *self._state.to_deregister]:
            try:
                if service_id in services:
                    yield from self._execute(self._api.deregister(service_id))
                    self._on_event(RegistrarEvent.DEREGISTERED, service_id)
                elif service_id in self._state.instances:
                    self._on_event(RegistrarEvent.NOT_REGISTERED, service_id)
            except ConsulError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def registered(self) -> Flow[list[ServiceDefinition]]:
        """Flow: read all instances of any service that the agent has, whatever registered them."""
        services = yield from self._execute(self._api.agent_services())
        return [
            _definition_of(service_id, service)
            for service_id, service in services.items()
            if service.get("Port")  # a service without a port is not an instance
        ]

    def roll_back(self) -> Flow[None]:
        """Flow: deregister what `register_all` added. A failure is an event, not an error."""
        while self.added:
            yield from self._roll_back_one(self.added.pop())
        if self._unconfirmed:
            # An interrupted registration may be applied after its own deregistration.
            yield Sleep(LATE_REGISTRATION_WITHIN)
            for service_id in sorted(self._unconfirmed & (yield from self._still_registered())):
                yield from self._roll_back_one(service_id)
            self._unconfirmed.clear()

    def _roll_back_one(self, service_id: str) -> Flow[None]:
        try:
            call = self._api.deregister(service_id).with_timeout(ROLL_BACK_WITHIN)
            if (yield from call_consul(call)):
                self._on_event(RegistrarEvent.ROLLED_BACK, service_id)
        except ConsulError as error:
            # An agent without a leader deregisters at once, but answers only after it gave up on
            # the servers.
            if service_id in (yield from self._still_registered(if_unknown=service_id)):
                self._on_event(RegistrarEvent.ROLLBACK_FAILED, service_id, why=str(error))
            else:
                self._on_event(RegistrarEvent.ROLLED_BACK, service_id)

    def _still_registered(self, if_unknown: str = "") -> Flow[set[str]]:
        """Flow: read the ids that the agent has; only ``if_unknown`` if it does not answer."""
        try:
            services = yield from call_consul(
                self._api.agent_services().with_timeout(ROLL_BACK_WITHIN)
            )
        except ConsulError:
            return {if_unknown}
        return set(services)

    def _register_one(
        self, instance: ManagedInstance, before: Mapping[str, Any] | None, checks: Checks
    ) -> Flow[None]:
        """Flow: register one instance; ``before`` is the service that the agent had, if any."""
        service_id = instance.definition.id
        if before is None:
            self.added.append(service_id)
            self._unconfirmed.add(service_id)
        else:  # earlier info stays until it is read again
            meta = before.get("Meta") or {}
            instance.info = {name: meta[name] for name in INFO_FIELDS if name in meta}
        try:
            yield from self._register(instance, checks)
        except ConsulError as error:
            if before is None and isinstance(error, ConsulDenied | ConsulRejected):
                self.added.remove(service_id)  # refused: there is nothing to roll back
            if not isinstance(error, ConsulUnreachable):  # answered, whatever the answer
                self._unconfirmed.discard(service_id)
            raise
        self._unconfirmed.discard(service_id)
        instance.registered = True
        self._on_event(
            RegistrarEvent.REGISTERED if before is None else RegistrarEvent.UPDATED, service_id
        )

    def _register(self, instance: ManagedInstance, checks: Checks) -> Flow[None]:
        payload = self._state.payload(instance)
        # Replacing all checks would remove the check that is maintenance mode.
        replace_checks = not in_maintenance(checks, payload.id)
        yield from self._execute(self._api.register(payload, replace_checks=replace_checks))

    def _execute(self, call: ConsulCall[T]) -> Flow[T]:
        return call_consul_with_retry(
            call, self._consul_within, clock=self._clock, random=self._random
        )

    def _wait_for_service(
        self, service: str, waiting: dict[str, ServiceDefinition], until: float, wait: float
    ) -> Flow[None]:
        """Flow: wait until the catalog, which clients read, reports the instances as usable."""
        bucket = TokenBucket()
        pauses = full_jitter(CONSUL_WAIT, self._random)
        index = 0
        snapshot: Snapshot | None = None
        while waiting:
            remaining = until - self._clock()
            if remaining <= 0:
                instances = snapshot.instances if snapshot else ()
                outputs = yield from self._check_outputs()
                raise NotPassing(wait, _reasons_not_passing(waiting, instances, outputs))
            if pause := bucket.take(self._clock()):
                yield Sleep(min(pause, remaining))
                remaining = max(0.0, until - self._clock())
            call = self._api.health(service, index=index, wait=remaining if index else None)
            try:
                snapshot = yield from call_consul(call.with_timeout(query_timeout(remaining)))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                remaining = until - self._clock()
                if remaining <= 0:
                    raise
                index = 0
                yield Sleep(min(next(pauses) + (error.retry_after or 0.0), remaining))
                continue
            pauses = full_jitter(CONSUL_WAIT, self._random)
            index = next_index(index, snapshot.index)
            for instance in snapshot.instances:
                if instance.health in USABLE_HEALTH and _is_same(
                    instance, waiting.get(instance.id)
                ):
                    del waiting[instance.id]
                    self._on_event(
                        RegistrarEvent.PASSING, instance.id, status=instance.health.value
                    )

    def _check_outputs(self) -> Flow[Checks]:
        """Flow: read the agent's checks with their outputs; empty if it does not answer."""
        try:
            return (yield from call_consul(self._api.agent_checks()))
        except ConsulError:
            return {}


def _definition_of(service_id: str, service: Mapping[str, Any]) -> ServiceDefinition:
    """Return the definition of a service that the agent has.

    Other programs may have registered what the rules reject, such as an address with a port in it.
    It can be deregistered all the same.
    """
    name, port = service["Service"], service["Port"]
    address = service.get("Address") or ""
    try:
        return ServiceDefinition(name=name, id=service_id, address=address, port=port)
    except DefinitionError:
        return ServiceDefinition(name=name or "?", id=service_id, port=port)


def _is_same(instance: Instance, definition: ServiceDefinition | None) -> bool:
    """Return whether an instance in the catalog is the one that the definition describes.

    Another agent may have an instance with the same id; the address distinguishes them.
    """
    return (
        definition is not None
        and definition.port == instance.port
        and definition.address in ("", instance.address)
    )


def _reasons_not_passing(
    waiting: Mapping[str, ServiceDefinition], instances: Iterable[Instance], checks: Checks
) -> dict[str, str]:
    """Return for each id why it is not passing: its health and the output of its check.

    The health is the catalog's. The output is the agent's: the agent holds back changes of the
    output alone (``check_update_interval``, 5 minutes), so the catalog may have none yet.
    """
    listed = {one.id: one for one in instances if _is_same(one, waiting.get(one.id))}
    outputs = {check["ServiceID"]: " ".join(check["Output"].split()) for check in checks.values()}
    return {
        service_id: f"{listed[service_id].health}, "
        f"{outputs.get(service_id) or listed[service_id].output}"
        if service_id in listed
        else "not in the catalog yet, or the token may not read it there (node:read, service:read)"
        for service_id in sorted(waiting)
    }
