"""How a registrar's flows are put together, for both shells."""

from collections.abc import Iterator, Sequence
from typing import Any

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._discovery.service import calls_for
from kato_consul._flow import Flow
from kato_consul._logging import logger
from kato_consul._registration import maintenance as draining
from kato_consul._registration.events import WARNINGS, Event, Say
from kato_consul._registration.health_probe import probe
from kato_consul._registration.reconciler import keep
from kato_consul._registration.registrar_state import Tended, Tending
from kato_consul._registration.registration import CONSUL_WITHIN, Registering
from kato_consul._registration.ttl_heartbeat import report
from kato_consul._runtime_defaults import chance, clock
from kato_consul.settings import Settings

log = logger("registrar")


def logged(event: Event, who: str, /, **fields: Any) -> None:
    """Tell of an event in the log; who listens to nothing else hears it there."""
    (log.warning if event in WARNINGS else log.info)(event.value, instance=who, **fields)


class Registration:
    """One registrar: what it looks after, and the flows for that."""

    def __init__(
        self,
        settings: Settings,
        definitions: Sequence[ServiceDefinition],
        *,
        owner: str | None,
        consul_within: float | None,
        say: Say,
    ) -> None:
        self._say = say
        self.calls = calls_for(settings)
        self.tending = Tending(definitions, owner=owner)
        self.flows = Registering(
            self.calls,
            self.tending,
            clock=clock,
            random=chance,
            say=say,
            consul_within=CONSUL_WITHIN if consul_within is None else consul_within,
        )

    def keep(self) -> Flow[None]:
        """Flow: keep the registrations true, until `Tending.end`."""
        return keep(self.tending, self.calls, random=chance, say=self._say)

    def looking_after(self, one: Tended) -> Iterator[tuple[Flow[None], str]]:
        """The flows that look after one instance, and their names."""
        name = one.definition.id
        if one.definition.probe is not None:
            looking = probe(self.tending, one, clock=clock, random=chance, say=self._say)
            yield looking, f"kato-consul probe {name}"
            yield report(self.tending, one, self.calls, random=chance), f"kato-consul report {name}"

    def enter_maintenance(self, service_id: str, reason: str) -> Flow[None]:
        """Flow: into maintenance mode."""
        return draining.enter(self.calls, service_id, reason, self._say)

    def leave_maintenance(self, service_id: str) -> Flow[None]:
        """Flow: out of maintenance mode."""
        return draining.leave(self.calls, service_id, self._say)

    def await_quiet(self, within: float) -> Flow[bool]:
        """Flow: wait until clients have gone."""
        definitions = [one.definition for one in self.tending.tended.values()]
        return draining.await_quiet(definitions, within, clock=clock, say=self._say)
