"""Rollback: what a run that failed has registered is deregistered, or put back as it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, T, call_consul
from kato_consul._consul.former_registration import former_registration
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._flow import Clock, Flow, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.registering import (
    Checks,
    Services,
    changed_checks,
    check_ids,
    check_ids_as_defined,
    registration_calls,
)
from kato_consul._registration.registrar_state import RegistrarState
from kato_consul.errors import ConsulError

ROLL_BACK_WITHIN = 3.0
"""Seconds that a rollback may take while the agent does not answer: the job has failed already, and
its caller waits. Each instance has `SHORTEST_TIMEOUT` in any case."""

LATE_REGISTRATION_WITHIN = 0.5
"""Seconds after which an interrupted registration has been applied, if the agent is alive: the
agent is local, and applies it within milliseconds."""


@dataclass
class Change:
    """What a run did to one instance.

    ``services_before`` and ``checks_before`` are all that the agent had. ``confirmed``: the agent
    accepted it. ``in_flight``: a request was sent and not answered.
    """

    payload: RegistrationPayload
    services_before: Services
    checks_before: Checks
    confirmed: bool = False
    in_flight: bool = False

    @property
    def before(self) -> Mapping[str, Any] | None:
        """The instance as the agent had it; None if it did not."""
        return self.services_before.get(self.payload.id)


class Rollback:
    """The changes of one run, and the flow that undoes them."""

    def __init__(
        self, api: ConsulApi, state: RegistrarState, *, clock: Clock, on_event: EventSink
    ) -> None:
        self._api = api
        self._state = state
        self._clock = clock
        self._on_event = on_event
        self._until = 0.0
        self.changes: dict[str, Change] = {}
        """By the ids of the instances, in the order of their registration."""

    def undo(self) -> Flow[None]:
        """Flow: undo all changes. A failure is an event, not an error."""
        self._until = self._clock() + ROLL_BACK_WITHIN
        late = []
        while self.changes:
            service_id, change = self.changes.popitem()
            if change.before is not None:
                yield from self._restore(service_id, change, change.before)
            elif self._state.leave(service_id):
                yield from self._deregister(service_id)
                if change.in_flight:
                    late.append(service_id)
        if late:
            # An interrupted registration may be applied after its own deregistration.
            yield Sleep(LATE_REGISTRATION_WITHIN)
            for service_id in sorted({*late} & {*(yield from self._registered())}):
                yield from self._deregister(service_id)
        self._state.end_locks()

    def _deregister(self, service_id: str) -> Flow[None]:
        try:
            if (yield from self._call(self._api.deregister(service_id))):
                self._on_event(RegistrarEvent.ROLLED_BACK, service_id)
        except ConsulError as error:
            # An agent without a leader deregisters at once, but answers only after it gave up on
            # the servers.
            if service_id in (yield from self._registered(if_unknown=service_id)):
                self._on_event(RegistrarEvent.ROLLBACK_FAILED, service_id, why=str(error))
            else:
                self._on_event(RegistrarEvent.ROLLED_BACK, service_id)

    def _restore(self, service_id: str, change: Change, before: Mapping[str, Any]) -> Flow[None]:
        """Flow: register an instance as it was, unless it was not changed, or not by this run."""
        former = former_registration(before, change.checks_before, change.payload)
        try:
            services = yield from self._call(self._api.agent_services())
            checks = yield from self._call(self._api.agent_checks())
            if not _is_changed(change, services, checks):
                return
            for call in registration_calls(self._api, former, services, checks):
                yield from self._call(call)
        except ConsulError as error:
            self._on_event(RegistrarEvent.ROLLBACK_FAILED, service_id, why=str(error))
        else:
            lost = "; ".join(former.lost)
            self._on_event(RegistrarEvent.RESTORED, service_id, port=former.port, lost=lost)

    def _registered(self, if_unknown: str = "") -> Flow[Services]:
        """Flow: read the services that the agent has; only ``if_unknown`` if it does not answer."""
        try:
            return (yield from self._call(self._api.agent_services()))
        except ConsulError:
            return {if_unknown: {}}

    def _call(self, call: ConsulCall[T]) -> Flow[T]:
        return call_consul(call.within(self._until - self._clock()))


def _is_changed(change: Change, services: Services, checks: Checks) -> bool:
    """Return whether the instance is as this run registered it, and was otherwise before."""
    payload, before = change.payload, change.before
    service = services.get(payload.id)
    if service is None or before is None:
        return False  # it was deregistered meanwhile
    ids, ids_before = (check_ids(one, payload.id) for one in (checks, change.checks_before))
    if not change.confirmed:
        return service != before or ids != ids_before
    if [*payload.differences(services, check_ids_as_defined(checks, payload))]:
        return False  # another registrar changed it meanwhile
    ids_then = check_ids_as_defined(change.checks_before, payload)
    return (
        ids != ids_before
        or [*payload.differences(change.services_before, ids_then)] != []
        or [*changed_checks(payload, before, change.checks_before)] != []
    )
