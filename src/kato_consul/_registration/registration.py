"""Registration: registers and deregisters a set of instances, all or none.

Registering is idempotent: the agent keeps the state of a check that is registered again, so a
passing instance does not flap. If a run fails, the instances that it added are deregistered, and
those that were registered before are put back as they were (`Rollback`).
"""

from collections.abc import Sequence

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, T, call_consul, call_consul_with_retry
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.check_owners import check_conflict, released_checks
from kato_consul._registration.contest import describe_differences
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import read_info
from kato_consul._registration.reconciler import compare_with_pool
from kato_consul._registration.registering import (
    Checks,
    Services,
    changed_checks,
    check_ids_as_defined,
    is_fed,
    registration_calls,
    releasing_calls,
)
from kato_consul._registration.registrar_state import (
    INFO_FIELDS,
    ManagedInstance,
    RegistrarState,
    added_meta,
    owner_of,
)
from kato_consul._registration.removal import Removal
from kato_consul._registration.rollback import LATE_REGISTRATION_WITHIN, Change, Rollback
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnreachable,
    DefinitionError,
)

CONSUL_WITHIN = 10.0
"""Seconds that an agent may take to become available: it may have been started together with the
registrar, or have no leader at the moment (an election takes a few seconds)."""

DEREGISTER_WITHIN = 3.0
"""Seconds that Consul has for the deregistration when a registrar ends. Without it the checks turn
critical by themselves, so the process does not wait longer."""

JOIN_POLL_INTERVAL = 0.05
"""Seconds between checks whether another process has deregistered the instance."""


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
        self._rollback = Rollback(api, state, clock=clock, on_event=on_event)

    def register_all(self) -> Flow[None]:
        """Flow: register all instances. If it fails or is interrupted, run `roll_back`.

        Raises:
            ConsulError: the agent did not answer in time, or refused a definition.
            DefinitionError: another service of the agent has the id of one of the checks.
        """
        # What an earlier run changed was registered before this one.
        self._rollback.changes.clear()
        yield from self._join_all()
        services = yield from self._execute(self._api.agent_services())
        checks = yield from self._execute(self._api.agent_checks())
        released = self._released_or_refused(checks)
        if owners := sorted({checks[check_id]["ServiceID"] for check_id in released}):
            for service_id in owners:
                yield from self._release_checks(self._state.instances[service_id], services, checks)
            services = yield from self._execute(self._api.agent_services())
            checks = yield from self._execute(self._api.agent_checks())
        for instance in self._state.instances.values():
            yield from self._register_one(instance, services, checks)

    def roll_back(self) -> Flow[None]:
        """Flow: undo what `register_all` did. A failure is an event, not an error."""
        return self._rollback.undo()

    def _join_all(self) -> Flow[None]:
        """Flow: wait while another process of this machine deregisters one of the instances."""
        until = self._clock() + self._consul_within
        for service_id in self._state.instances:
            while not self._state.join(service_id) and self._clock() < until:
                yield Sleep(JOIN_POLL_INTERVAL)
        if why := self._state.locks_unusable:
            self._on_event(RegistrarEvent.LOCKS_UNUSABLE, "kato-consul", why=why)

    def _released_or_refused(self, checks: Checks) -> set[str]:
        """Return the ids of the checks that one instance has now, and another one is to have.

        Raises:
            DefinitionError: another service has one of the checks.
        """
        definitions = [one.definition for one in self._state.instances.values()]
        released = released_checks(checks, definitions)
        conflicts = (check_conflict(one, checks, released) for one in definitions)
        if mistakes := [conflict for conflict in conflicts if conflict]:
            raise DefinitionError(mistakes)
        return released & {check_id for one in definitions for check_id in one.check_ids}

    def _release_checks(
        self, instance: ManagedInstance, services: Services, checks: Checks
    ) -> Flow[None]:
        """Flow: let an instance that is registered give up its former checks."""
        payload = self._state.payload(instance)
        change = Change(payload, services, checks, in_flight=True)
        self._rollback.changes[payload.id] = change
        for call in releasing_calls(self._api, payload, checks):
            yield from self._execute(call)
        change.in_flight = False

    def publish_metadata(self) -> Flow[None]:
        """Flow: read each instance's info and add it to its metadata in Consul.

        This is for a startup job; in a long-running registrar, the prober does it. Info that cannot
        be read is an event, not an error: the job may run where it cannot reach the instances.
        """
        services = yield from self._execute(self._api.agent_services())
        checks = yield from self._execute(self._api.agent_checks())
        for instance in self._state.instances.values():
            if instance.definition.probe is None:
                continue
            before = instance.info
            yield from read_info(instance, self._on_event)
            if instance.info != before:
                yield from self._register(instance, services, checks)
        yield from compare_with_pool(self._state, self._api, {}, self._on_event)

    def deregister_all(self, *, again: bool = False) -> Flow[None]:
        """Flow: deregister all instances, except those that other processes keep registered. One
        that is not registered is not an error.

        ``again``: a registration may be in flight, so look again whether each is gone.

        Raises:
            ConsulError: the first error; the other instances were deregistered all the same.
        """
        within = self._consul_within
        if self._state.long_running:
            within = min(within, DEREGISTER_WITHIN)
        until = self._clock() + within
        ids = []
        for service_id in [*self._state.instances, *self._state.to_deregister]:
            if self._state.leave(service_id):
                ids.append(service_id)
            else:
                self._on_event(RegistrarEvent.LEFT, service_id)
        try:
            if ids:
                yield from self._deregister(ids, until)
            if ids and again:
                yield Sleep(LATE_REGISTRATION_WITHIN)
                yield from self._deregister(ids, until, report_missing=False)
        finally:
            self._state.end_locks()

    def _deregister(
        self, ids: Sequence[str], until: float, *, report_missing: bool = True
    ) -> Flow[None]:
        # The list is read first: agents before 1.9 return 200 for an id that they do not have.
        services = yield from self._execute(self._api.agent_services(), until)
        first_error: ConsulError | None = None
        for number, service_id in enumerate(ids):
            if service_id not in services:
                if report_missing and service_id in self._state.instances:
                    self._on_event(RegistrarEvent.NOT_REGISTERED, service_id)
                continue
            # Each has its share of the time: an agent without a leader deregisters at once, but
            # answers only after it gave up on the servers.
            share = max(until - self._clock(), 0.0) / (len(ids) - number)
            try:
                yield from self._execute(self._api.deregister(service_id), self._clock() + share)
            except ConsulError as error:
                if (yield from self._has(service_id)):
                    first_error = first_error or error
                    continue
            self._on_event(RegistrarEvent.DEREGISTERED, service_id)
        if first_error is not None:
            raise first_error

    def _has(self, service_id: str) -> Flow[bool]:
        """Flow: return whether the agent has a service; also True if it does not answer."""
        try:
            services = yield from call_consul(self._api.agent_services().within(0))
        except ConsulError:
            return True
        return service_id in services

    def _register_one(
        self, instance: ManagedInstance, services: Services, checks: Checks
    ) -> Flow[None]:
        """Flow: register one instance; ``services`` and ``checks`` are what the agent has."""
        service_id = instance.definition.id
        before = services.get(service_id)
        if before is not None:  # earlier info stays until it is read again
            meta = before.get("Meta") or {}
            instance.info = {name: meta[name] for name in INFO_FIELDS if name in meta}
            self._warn_of_rival(instance, services, checks)
        change = Change(self._state.payload(instance), services, checks)
        self._rollback.changes.setdefault(service_id, change)
        yield from self._register(instance, services, checks)
        instance.registered = True
        self._on_event(_event_of(change), service_id)

    def _warn_of_rival(self, instance: ManagedInstance, services: Services, checks: Checks) -> None:
        """Report a registrar that runs and will put back its own, different definition."""
        payload = self._state.payload(instance)
        if self._state.long_running or not is_fed(checks, payload.id):
            return  # a registrar that keeps running reports it when it happens
        own = {check["CheckID"] for check in payload.checks()}  # a probe's is of another kind now
        if what := describe_differences(payload, services, own, added_meta(instance.definition)):
            other = owner_of(services[payload.id])
            self._on_event(RegistrarEvent.CONTESTED, payload.id, what=what, other=other)

    def _register(
        self, instance: ManagedInstance, services: Services, checks: Checks
    ) -> Flow[None]:
        payload = self._state.payload(instance)
        change = self._rollback.changes[payload.id]
        accepted = 0
        change.confirmed, change.in_flight = False, True
        try:
            for call in registration_calls(self._api, payload, services, checks):
                yield from self._execute(call)
                accepted += 1
        except ConsulError as error:
            change.in_flight = isinstance(error, ConsulUnreachable)
            refused = isinstance(error, ConsulDenied | ConsulRejected)
            if refused and not accepted and change.services_before is services:
                del self._rollback.changes[payload.id]  # there is nothing to roll back
            raise
        change.payload, change.confirmed, change.in_flight = payload, True, False
        instance.published = instance.info

    def _execute(self, call: ConsulCall[T], until: float | None = None) -> Flow[T]:
        within = self._consul_within if until is None else until - self._clock()
        return call_consul_with_retry(call, within, clock=self._clock, random=self._random)


def _event_of(change: Change) -> RegistrarEvent:
    """Return the event of a registration. What the agent does not return, such as the timeout of a
    check, is not compared."""
    payload, before, checks = change.payload, change.before, change.checks_before
    if before is None:
        return RegistrarEvent.REGISTERED
    ids = check_ids_as_defined(checks, payload)
    differs = any(True for _ in payload.differences(change.services_before, ids)) or any(
        True for _ in changed_checks(payload, before, checks)
    )
    return RegistrarEvent.UPDATED if differs else RegistrarEvent.UNCHANGED
