"""Registration: registers and deregisters a set of instances, all or none.

Registering is idempotent: the agent keeps the state of a check that is registered again, so a
passing instance does not flap. If a run fails, the instances that it added are deregistered;
instances that were registered before stay.
"""

from collections.abc import Mapping
from typing import Any

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, T, call_consul, call_consul_with_retry
from kato_consul._definitions.rules import MAX_PORT
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.check_owners import check_conflict
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import INFO_FIELDS, read_info
from kato_consul._registration.reconciler import Checks, compare_with_pool, in_maintenance
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul._registration.removal import Removal
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnreachable,
    DefinitionError,
)

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
        self.removal = Removal(api, clock, random, on_event, consul_within)
        self.added: list[str] = []
        """Ids that were not in the agent before the run: deregistered if it fails."""
        self._unconfirmed: set[str] = set()
        """Ids in `added` whose registration was sent and not answered yet."""

    def register_all(self) -> Flow[None]:
        """Flow: register all instances. If it fails or is interrupted, run `roll_back`.

        Raises:
            ConsulError: the agent did not answer in time, or refused a definition.
            DefinitionError: another service of the agent has the id of one of the checks.
        """
        # What an earlier run added was registered before this one.
        self.added.clear()
        self._unconfirmed.clear()
        services = yield from self._execute(self._api.agent_services())
        checks: Checks = {}
        if services:  # one may have a check with the same id, or be in maintenance mode
            checks = yield from self._execute(self._api.agent_checks())
        self._refuse_check_conflicts(checks)
        for instance in self._state.instances.values():
            yield from self._register_one(instance, services.get(instance.definition.id), checks)

    def _refuse_check_conflicts(self, checks: Checks) -> None:
        conflicts = (
            check_conflict(one.definition, checks) for one in self._state.instances.values()
        )
        if mistakes := [conflict for conflict in conflicts if conflict]:
            raise DefinitionError(mistakes)

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

    def registered(self, node: str | None = None) -> Flow[list[ServiceDefinition]]:
        """Flow: read all instances of any service that the agent has, or a node of the catalog,
        whatever registered them."""
        if node is None:
            services = yield from self._execute(self._api.agent_services())
        else:
            services = (yield from self.removal.node_record(node))["Services"]
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


def _definition_of(service_id: str, service: Mapping[str, Any]) -> ServiceDefinition:
    """Return the definition of a service that the agent has.

    Other programs may have registered what the rules reject, such as an address with a port in it,
    or the port 70000. It can be deregistered all the same.
    """
    name, port = service["Service"], service["Port"]
    address = service.get("Address") or ""
    try:
        return ServiceDefinition(name=name, id=service_id, address=address, port=port)
    except DefinitionError:
        valid = port if 0 < port <= MAX_PORT else 1
        return ServiceDefinition(name=name or "?", id=service_id, port=valid)
