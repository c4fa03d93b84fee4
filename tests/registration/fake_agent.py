"""A fake Consul agent that keeps its services in a dict, and a registrar that uses it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul._flow import Flow, Outcome, Reply, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.passing import wait_until_passing
from kato_consul._registration.reconciler import reconcile_registrations
from kato_consul._registration.registrar_state import RegistrarState
from kato_consul._registration.registration import CONSUL_WITHIN, Registration
from kato_consul.testing.clock import ManualClock
from tests.building import reply
from tests.flows import Player

PLAIN = CheckDefinition()
ONE = ServiceDefinition(name="kato", id="kato-1", port=8001, check=PLAIN)
TWO = ServiceDefinition(name="kato", id="kato/2", port=8002, check=PLAIN)
OTHER = ServiceDefinition(name="memory", id="memory-1", port=9001, check=PLAIN)
REDIS = ServiceDefinition(name="redis", id="redis", port=6379, check=PLAIN)

Services = dict[str, dict[str, Any]]


def listed(*definitions: ServiceDefinition) -> Services:
    """Return the ``/v1/agent/services`` of an agent that has exactly these instances."""
    return {
        one.id: _service({"id": one.id, "name": one.name, **RegistrationPayload(one).keywords()})
        for one in definitions
    }


def _service(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a registration as the agent lists it."""
    return {
        "ID": body["id"],
        "Service": body["name"],
        "Address": body.get("address") or "",
        "Port": body["port"],
        "Tags": body.get("tags") or [],
        "Meta": body.get("meta") or {},
        "Weights": {name.title(): one for name, one in body["weights"].items()},
        "TaggedAddresses": {
            name: {"Address": one["address"], "Port": one["port"]}
            for name, one in (body.get("tagged_addresses") or {}).items()
        },
    }


def catalogued(
    service: Mapping[str, Any], status: str, output: str, *, node: str = "here"
) -> dict[str, Any]:
    """Return the catalog's entry for a service of an agent, with one check."""
    return {
        "Node": {"Node": node, "Address": "10.0.0.1"},
        "Service": dict(service),
        "Checks": [{"CheckID": "alive", "Name": "alive", "Status": status, "Output": output}],
    }


@dataclass
class Agent:
    """An agent that keeps services in a dict.

    ``override`` maps a request (``requests`` has them) to an outcome that replaces the agent's.
    ``passing`` are the ids whose checks pass, ``warning`` those in warning; ``outputs`` are outputs
    of checks that only the agent has, not the catalog; ``more_checks`` are further checks of the
    agent. ``still_listed`` are ids that only the catalog has as passing. ``elsewhere`` are the
    catalog's entries from other agents. ``when_blocked`` is called for each blocking query. The
    query's wait passes on the clock unless it returns True (something changed at once).
    """

    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000.0))
    services: Services = field(default_factory=dict)
    passing: set[str] = field(default_factory=set)
    warning: set[str] = field(default_factory=set)
    elsewhere: list[dict[str, Any]] = field(default_factory=list)
    override: Callable[[str], Outcome | None] = lambda request: None
    when_blocked: Callable[[], bool] = lambda: False
    outputs: dict[str, str] = field(default_factory=dict)
    still_listed: set[str] = field(default_factory=set)
    more_checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __call__(self, send: Send) -> Outcome:
        url = urlsplit(send.target)
        path = unquote(url.path.removeprefix("/v1/"))
        request = path
        if path == "agent/service/register":
            request = f"{path}/{json.loads(send.body)['id']}"
        self.requests.append(request)
        if (outcome := self.override(request)) is not None:
            return outcome
        if path == "agent/services":
            return reply(200, self.services)
        if path == "agent/checks":
            return reply(200, self._checks())
        if path == "agent/service/register":
            service = _service(json.loads(send.body))
            self.services[service["ID"]] = service
            return reply(200)
        if path.startswith("agent/service/deregister/"):
            known = self.services.pop(path.removeprefix("agent/service/deregister/"), None)
            return reply(200 if known else 404)
        return self._health(path.removeprefix("health/service/"), parse_qs(url.query))

    def _checks(self) -> dict[str, dict[str, Any]]:
        return self.more_checks | {
            f"service:{one}": {
                "ServiceID": one,
                "Status": "passing"
                if one in self.passing
                else "warning"
                if one in self.warning
                else "critical",
                "Output": self.outputs.get(one, ""),
            }
            for one in self.services
        }

    def _health(self, name: str, query: dict[str, list[str]]) -> Reply:
        if "index" in query and not self.when_blocked():
            self.clock.advance(float(query["wait"][0].removesuffix("s")))
        own = [
            catalogued(service, "passing", "200 OK")
            if one in self.passing | self.still_listed
            else catalogued(service, "warning", "degraded")
            if one in self.warning
            else catalogued(service, "critical", "connection refused")
            for one, service in self.services.items()
        ]
        entries = [one for one in [*own, *self.elsewhere] if one["Service"]["Service"] == name]
        return reply(200, entries, x_consul_index="7")


@dataclass
class Run:
    """A registrar of some definitions, and the events that it sent."""

    agent: Agent
    definitions: tuple[ServiceDefinition, ...] = (ONE, TWO)
    events: list[tuple[str, str]] = field(default_factory=list)
    owner: str | None = None

    def __post_init__(self) -> None:
        self.player = Player(self.agent, clock=self.agent.clock)
        self.api = ConsulApi("http://consul.test:8500")
        self.state = RegistrarState(self.definitions, owner=self.owner)
        self.flows = self._flows(CONSUL_WITHIN)

    def register(self, *, wait: float, consul_within: float = CONSUL_WITHIN) -> None:
        """Register, wait until passing, and roll back if that fails, as a registrar does."""
        self.flows = self._flows(consul_within)
        try:
            self.play(self.flows.register_all())
            if wait:
                definitions = [one.definition for one in self.state.instances.values()]
                passing = wait_until_passing(
                    definitions,
                    wait,
                    self.api,
                    clock=self.agent.clock,
                    random=lambda: 1.0,
                    on_event=self.on_event,
                )
                self.play(passing)
        except Exception:
            self.play(self.flows.roll_back())
            raise

    def reconcile(self) -> Flow[None]:
        """Return the endless flow of a registrar that has registered all instances before."""
        for one in self.state.instances.values():
            one.registered = True
        return reconcile_registrations(
            self.state,
            self.api,
            clock=self.agent.clock,
            random=lambda: 1.0,
            on_event=self.on_event,
        )

    def play(self, flow: Flow[None]) -> None:
        """Run one of the flows to its end."""
        self.player.play(flow)

    def on_event(self, event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
        """Record an event with its description."""
        self.events.append((subject, describe_event(event, fields)))

    def _flows(self, consul_within: float) -> Registration:
        return Registration(
            self.api,
            self.state,
            clock=self.agent.clock,
            random=lambda: 1.0,
            on_event=self.on_event,
            consul_within=consul_within,
        )


def failing(*requests: str, with_: Outcome) -> Callable[[str], Outcome | None]:
    """Return an override that gives these requests that outcome."""
    return lambda request: with_ if request in requests else None
