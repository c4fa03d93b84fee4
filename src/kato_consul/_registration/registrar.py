"""How a registrar's flows are put together, for both shells."""

from collections.abc import Iterator, Sequence
from typing import Any

from kato_consul._consul.agents import consul_api
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Flow
from kato_consul._logging import logger
from kato_consul._registration import maintenance as draining
from kato_consul._registration.events import WARNINGS, EventSink, RegistrarEvent
from kato_consul._registration.health_probe import probe
from kato_consul._registration.reconciler import reconcile_registrations
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul._registration.registration import CONSUL_WITHIN, Registration
from kato_consul._registration.ttl_heartbeat import send_heartbeats
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.settings import Settings

log = logger("registrar")


def log_event(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
    """Tell of an event in the log; who listens to nothing else hears it there."""
    (log.warning if event in WARNINGS else log.info)(event.value, instance=who, **fields)


class RegistrarService:
    """One registrar: what it looks after, and the flows for that."""

    def __init__(
        self,
        settings: Settings,
        definitions: Sequence[ServiceDefinition],
        *,
        owner: str | None,
        consul_within: float | None,
        on_event: EventSink,
    ) -> None:
        self._say = on_event
        self.api = consul_api(settings)
        self.state = RegistrarState(definitions, owner=owner)
        self.registration = Registration(
            self.api,
            self.state,
            clock=clock,
            random=uniform,
            on_event=on_event,
            consul_within=CONSUL_WITHIN if consul_within is None else consul_within,
        )

    def reconcile(self) -> Flow[None]:
        """Flow: keep the registrations true, until `Tending.end`."""
        return reconcile_registrations(self.state, self.api, random=uniform, on_event=self._say)

    def instance_flows(self, one: ManagedInstance) -> Iterator[tuple[Flow[None], str]]:
        """The flows that look after one instance, and their names."""
        name = one.definition.id
        if one.definition.probe is not None:
            looking = probe(self.state, one, clock=clock, random=uniform, on_event=self._say)
            yield looking, f"kato-consul probe {name}"
            yield (
                send_heartbeats(self.state, one, self.api, random=uniform),
                f"kato-consul report {name}",
            )

    def enter_maintenance(self, service_id: str, reason: str) -> Flow[None]:
        """Flow: into maintenance mode."""
        return draining.enter(self.api, service_id, reason, self._say)

    def leave_maintenance(self, service_id: str) -> Flow[None]:
        """Flow: out of maintenance mode."""
        return draining.leave(self.api, service_id, self._say)

    def wait_until_idle(self, within: float) -> Flow[bool]:
        """Flow: wait until clients have gone."""
        definitions = [one.definition for one in self.state.instances.values()]
        return draining.wait_until_idle(definitions, within, clock=clock, on_event=self._say)
