"""Registrar service: one registrar's state and flows, for both shells."""

from collections.abc import Iterator, Sequence
from typing import Any

from kato_consul._consul.agents import consul_api
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Flow
from kato_consul._logging import logger
from kato_consul._registration import maintenance
from kato_consul._registration.events import WARNINGS, EventSink, RegistrarEvent
from kato_consul._registration.health_probe import probe_instance
from kato_consul._registration.live_registrars import LiveRegistrars
from kato_consul._registration.passing import wait_until_passing
from kato_consul._registration.reconciler import reconcile_registrations
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul._registration.registration import CONSUL_WITHIN, Registration
from kato_consul._registration.ttl_heartbeat import send_heartbeats
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.settings import Settings

log = logger("registrar")

ENTER_WITHIN = 3.0
"""Seconds that Consul has to put an instance into maintenance mode. If it does not answer, clients
are not told, and there is nothing to wait for."""


def log_event(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
    """Write an event to the log ``kato_consul.registrar``: the default `EventSink`."""
    (log.warning if event in WARNINGS else log.info)(event.value, instance=subject, **fields)


def surviving(sink: EventSink) -> EventSink:
    """Return a sink whose exceptions are logged, so that none ends a flow that keeps an instance
    registered or its health up to date."""

    def send(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
        try:
            sink(event, subject, **fields)
        except Exception:
            log.exception("event_sink.failed", lost=event.value, instance=subject)

    return send


class RegistrarService:
    """One registrar: the state of its instances, and the flows that manage them."""

    def __init__(
        self,
        settings: Settings,
        definitions: Sequence[ServiceDefinition],
        *,
        owner: str | None,
        consul_within: float | None,
        on_event: EventSink,
    ) -> None:
        self._on_event = on_event = surviving(on_event)
        self.api = consul_api(settings)
        agent = "\n".join(
            part or "" for part in (self.api.address, settings.namespace, settings.partition)
        )
        self.state = RegistrarState(definitions, owner=owner, live=LiveRegistrars(agent))
        self.registration = Registration(
            self.api,
            self.state,
            clock=clock,
            random=uniform,
            on_event=on_event,
            consul_within=CONSUL_WITHIN if consul_within is None else consul_within,
        )

    def wait_until_passing(self, wait: float) -> Flow[None]:
        """Flow: wait until clients see the instances as usable, at most ``wait`` seconds."""
        definitions = [one.definition for one in self.state.instances.values()]
        return wait_until_passing(
            definitions, wait, self.api, clock=clock, random=uniform, on_event=self._on_event
        )

    def reconcile(self) -> Flow[None]:
        """Flow: keep the instances registered, until `RegistrarState.stop`."""
        return reconcile_registrations(
            self.state, self.api, clock=clock, random=uniform, on_event=self._on_event
        )

    def instance_flows(self, instance: ManagedInstance) -> Iterator[tuple[Flow[None], str]]:
        """Yield the flows that run for one instance, each with a name for its thread or task."""
        service_id = instance.definition.id
        if instance.definition.probe is not None:
            yield (
                probe_instance(
                    self.state, instance, clock=clock, random=uniform, on_event=self._on_event
                ),
                f"kato-consul probe {service_id}",
            )
            yield (
                send_heartbeats(self.state, instance, self.api, random=uniform),
                f"kato-consul heartbeat {service_id}",
            )

    def hung(self) -> dict[str, float]:
        """Return the ids of the instances that are hung, and for how many seconds each has been."""
        since = {key: one.hung_since for key, one in self.state.instances.items()}
        return {key: clock() - start for key, start in since.items() if start is not None}

    def leave_maintenance(self, service_id: str) -> Flow[None]:
        """Flow: end an instance's maintenance mode."""
        definition = self.state.instances[service_id].definition
        return maintenance.leave(self.api, definition, self._on_event)

    def drain(self, within: float, reason: str) -> Flow[bool]:
        """Flow: put the instances into maintenance mode, and wait until no client uses them.

        All of it takes ``within`` seconds at most, but each call to Consul has a second.
        """
        until = clock() + within
        definitions = [one.definition for one in self.state.instances.values()]
        for definition in definitions:
            left = min(until - clock(), ENTER_WITHIN)
            yield from maintenance.enter(self.api, definition, reason, left, self._on_event)
        left = min(until - clock(), ENTER_WITHIN)
        checks = yield from maintenance.read_checks(self.api, left)
        return (
            yield from maintenance.wait_until_idle(
                definitions,
                until - clock(),
                clock=clock,
                on_event=self._on_event,
                checks=checks,
            )
        )
