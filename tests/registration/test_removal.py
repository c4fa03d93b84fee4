"""Removal: which instances are deregistered, and what is said about those that are not."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Flow, Outcome, Reply, Send
from kato_consul._registration.events import RegistrarEvent
from kato_consul._registration.removal import CATALOG_LAG, PUT_BACK_WITHIN, Removal
from kato_consul.errors import ConsulDenied, ConsulRejected, StillRegistered
from kato_consul.testing.clock import ManualClock
from tests.building import reply
from tests.flows import Player

PASSING, CRITICAL = "passing", "critical"


def node(name: str, serf: str | None, *ids: str, address: str = "10.0.0.2") -> dict[str, Any]:
    """Return a node of the catalog with instances of ``kato``; ``serf`` is Consul's check of it."""
    checks = [{"CheckID": "serfHealth", "Status": serf}] if serf else []
    return {"Node": {"Node": name, "Address": address}, "ids": set(ids), "checks": checks}


@dataclass
class Consul:
    """An agent with services, and the catalog's other nodes.

    ``puts_back`` maps an id to the time at which a registrar registers it again; ``ends`` maps a
    node to the time at which the catalog no longer lists it. ``denied`` are ids that may not be
    deregistered. ``writes`` has the ids, and the bodies sent to the catalog.
    """

    clock: ManualClock = field(default_factory=lambda: ManualClock(100.0))
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    puts_back: dict[str, float] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    writes: list[Any] = field(default_factory=list)
    may_read_services: bool = True
    may_read_nodes: bool = True
    leaderless: bool = False

    def __call__(self, send: Send) -> Outcome:
        path = unquote(urlsplit(send.target).path).removeprefix("/v1/")
        query = parse_qs(urlsplit(send.target).query)
        if path == "agent/services":
            back = [one for one, at in self.puts_back.items() if self.clock.now >= at]
            return reply(200, {**self.services, **{one: {"Service": "kato"} for one in back}})
        if path == "agent/checks":
            return reply(200, self.checks)
        if path.startswith("agent/service/deregister/"):
            service_id = path.rpartition("deregister/")[2]
            if service_id in self.denied:
                return reply(403, b"Permission denied")
            self.writes.append(service_id)
            self.services.pop(service_id, None)
            return reply(200)
        if path == "internal/acl/authorize":
            return reply(
                200, [{"Allow": one} for one in (True, self.may_read_services, self.may_read_nodes)]
            )
        if path == "catalog/deregister":
            self.writes.append(json.loads(send.body))
            return reply(200, True)
        if self.leaderless:
            return reply(500, b"No cluster leader")
        return self._catalog(path, query.get("filter", [""])[0])

    def _catalog(self, path: str, filtered: str) -> Reply:
        nodes = [one for one in self.nodes if self.clock.now < self.ends.get(_name(one), 1e9)]
        if path == "catalog/services":
            return reply(200, {"consul": [], "kato": []}, x_consul_index="7")
        if path.startswith("catalog/service/"):
            found = [
                {**one["Node"], "ServiceID": service_id}
                for one in nodes
                for service_id in sorted(one["ids"])
                if path.endswith("/kato") and f'"{service_id}"' in filtered
            ]
            return reply(200, found, x_consul_index="7")
        named = next((one for one in nodes if path.endswith(f"node/{_name(one)}")), None)
        if path.startswith("health/node/"):
            return reply(200, named["checks"] if named else [], x_consul_index="7")
        assert path.startswith("catalog/node/")
        if named is None:
            return reply(200, None, x_consul_index="7")
        services = {one: {"Service": "kato"} for one in named["ids"]}
        return reply(200, {"Node": named["Node"], "Services": services}, x_consul_index="7")


def _name(of: dict[str, Any]) -> str:
    name: str = of["Node"]["Node"]
    return name


@dataclass
class Operator:
    """Runs removals against a Consul, and records their events."""

    consul: Consul
    events: list[tuple[str, RegistrarEvent]] = field(default_factory=list)

    def from_agent(self, *ids: str) -> dict[str, str]:
        """Deregister from the agent; return the reasons why instances are still registered."""
        return self._reasons(self._removal().from_agent(dict.fromkeys(ids, "kato")))

    def from_node(self, name: str, ids: Iterable[str]) -> dict[str, str]:
        """Remove from a node; return the reasons likewise."""
        return self._reasons(self._removal().from_node(name, ids))

    def registered(self, service: str | None) -> list[ServiceDefinition]:
        """Return the instances of a service, or of any, that the agent has."""
        found: list[ServiceDefinition] = Player(self.consul, clock=self.consul.clock).play(
            self._removal().registered(service=service)
        )
        return found

    def _removal(self) -> Removal:
        def on_event(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
            self.events.append((subject, event))

        api = ConsulApi("http://consul.test:8500", datacenter="dc2")
        return Removal(api, self.consul.clock, lambda: 1.0, on_event, 0.0)

    def _reasons(self, flow: Flow[None]) -> dict[str, str]:
        try:
            Player(self.consul, clock=self.consul.clock).play(flow)
        except StillRegistered as error:
            return error.reasons
        return {}


def test_instances_of_the_agent() -> None:
    """Each is deregistered, in the given order; others stay. What `register` has left is not
    waited for."""
    services = {name: {"Service": "kato"} for name in ("kato-1", "kato-2", "kato-3")}
    checks = {f"kato-probe:{name}": {"Type": "http"} for name in services}
    operator = Operator(Consul(services=services, checks=checks))
    assert operator.from_agent("kato-3", "kato-1") == {}
    assert operator.consul.writes == ["kato-3", "kato-1"]
    assert operator.events == [
        ("kato-3", RegistrarEvent.DEREGISTERED),
        ("kato-1", RegistrarEvent.DEREGISTERED),
    ]
    assert operator.consul.clock.now == 100.0


def test_instance_that_no_node_has() -> None:
    """It counts as deregistered."""
    operator = Operator(Consul(nodes=[node("box", CRITICAL, "kato-8")]))
    assert operator.from_agent("kato-9") == {}
    assert operator.events == [("kato-9", RegistrarEvent.NOT_REGISTERED)]


def test_catalog_that_cannot_be_read() -> None:
    """An agent without servers knows only its own instances: no error, but it is said."""
    services = {"kato-1": {"Service": "kato"}}
    operator = Operator(Consul(services=services, leaderless=True))
    assert operator.from_agent("kato-9", "kato-1") == {}
    assert operator.events == [
        ("kato-9", RegistrarEvent.NOT_ON_AGENT),
        ("kato-1", RegistrarEvent.DEREGISTERED),
    ]


def test_token_that_may_not_read_nodes() -> None:
    """Whether another node has an instance is not known then, and this is said."""
    operator = Operator(Consul(may_read_nodes=False))
    assert operator.from_agent("kato-9") == {}
    assert operator.events == [("kato-9", RegistrarEvent.NOT_ON_AGENT)]


def test_token_that_may_not_read_the_service() -> None:
    """Consul hides instances then: they are not called unregistered; others are deregistered."""
    services = {"kato-1": {"Service": "kato"}}
    operator = Operator(Consul(services=services, may_read_services=False))
    with pytest.raises(ConsulDenied, match="lacks service:read on 'kato'"):
        operator.from_agent("kato-9", "kato-1")
    assert operator.events == [("kato-1", RegistrarEvent.DEREGISTERED)]


@pytest.mark.parametrize("service", ["kato", None])
def test_hidden_instances_are_no_empty_list(service: str | None) -> None:
    """An empty list of a service that the token may not read is an error."""
    operator = Operator(Consul(may_read_services=False))
    if service is None:
        assert operator.registered(service) == []
        return
    with pytest.raises(ConsulDenied, match="lacks service:read on 'kato'"):
        operator.registered(service)


@pytest.mark.parametrize("serf", [CRITICAL, None])
def test_instance_of_a_dead_node(serf: str | None) -> None:
    """The node is named with the command; the agent's own instances are deregistered."""
    services = {"kato-1": {"Service": "kato"}}
    operator = Operator(Consul(services=services, nodes=[node("box gone", serf, "kato 9")]))
    reasons = operator.from_agent("kato 9", "kato-1")
    assert reasons.keys() == {"kato 9"}
    assert "node box gone, whose agent is dead" in reasons["kato 9"]
    assert "'kato-consul deregister 'kato 9' --node 'box gone''" in reasons["kato 9"]
    assert operator.events == [("kato-1", RegistrarEvent.DEREGISTERED)]


def test_instance_of_a_living_node() -> None:
    """Nothing is written: its node is named. The catalog does not have the port of its agent."""
    operator = Operator(Consul(nodes=[node("n2", PASSING, "kato-2", address="10.0.0.2")]))
    for reasons in (operator.from_agent("kato-2"), operator.from_node("n2", ["kato-2"])):
        assert "node n2 (10.0.0.2), whose agent is alive" in reasons["kato-2"]
        assert "'kato-consul deregister kato-2 --consul ADDRESS', with" in reasons["kato-2"]
        assert "8500" not in reasons["kato-2"]
    assert (operator.consul.writes, operator.events) == ([], [])


def test_catalog_that_lags_behind_the_agent() -> None:
    """What the agent has just deregistered may still be listed on its own, living node."""
    consul = Consul(nodes=[node("here", PASSING, "kato-1")], ends={"here": 100.0 + CATALOG_LAG / 2})
    operator = Operator(consul)
    assert operator.from_agent("kato-1") == {}
    assert operator.events == [("kato-1", RegistrarEvent.NOT_REGISTERED)]


@pytest.mark.parametrize("serf", [CRITICAL, None])
def test_removal_from_a_dead_node(serf: str | None) -> None:
    """Only the named instances are removed, in the settings' datacenter."""
    operator = Operator(Consul(nodes=[node("box-gone", serf, "kato-8", "kato-9")]))
    assert operator.from_node("box-gone", ["kato-9", "kato-7"]) == {}
    body = {"Node": "box-gone", "ServiceID": "kato-9", "Datacenter": "dc2"}
    assert operator.consul.writes == [body]
    assert operator.events == [
        ("kato-9", RegistrarEvent.DEREGISTERED),
        ("kato-7", RegistrarEvent.NOT_REGISTERED),
    ]


def test_unknown_node() -> None:
    """A node that does not exist is an error, not a success."""
    with pytest.raises(ConsulRejected, match="no such node"):
        Operator(Consul()).from_node("box", ["kato-1"])


OWNED = {"Service": "kato", "Meta": {"registrar": "host:/etc/kato.toml"}}
PLAIN = {"Service": "kato"}
TTL = {"kato-probe:kato-1": {"Type": "ttl"}}


@pytest.mark.parametrize(
    ("service", "checks", "back_after", "named"),
    [
        (OWNED, {}, 0.9, "the 'kato-consul run' or 'exec' of host:/etc/kato.toml"),
        (OWNED, {}, PUT_BACK_WITHIN + 1, None),  # it has crashed
        (PLAIN, TTL, 0.0, "a registrar in a program"),
        (PLAIN, {}, 0.9, "another program, such as a registrar in a program"),
        (PLAIN, {"kato-probe:kato-1": {"Type": "http"}}, 0.0, None),  # `register` leaves none
    ],
)
def test_registrar_that_runs(
    service: dict[str, Any], checks: dict[str, Any], back_after: float, named: str | None
) -> None:
    """An instance that may have a registrar is watched, also one with plain checks, on which a
    registrar in a program leaves no mark; the registrar is named if it puts it back."""
    consul = Consul(services={"kato-1": service}, checks=checks)
    consul.puts_back["kato-1"] = 100.0 + back_after
    reasons = Operator(consul).from_agent("kato-1")
    if named is None:
        assert reasons == {}
    else:
        assert f"registered again by {named}" in reasons["kato-1"]
        assert consul.clock.now < 100.0 + back_after + 0.5


def test_error_does_not_keep_the_others_registered() -> None:
    """The first error is raised, after all instances were tried."""
    services = dict.fromkeys(("kato-1", "kato-2"), PLAIN)
    operator = Operator(Consul(services=services, denied={"kato-1"}))
    with pytest.raises(ConsulDenied):
        operator.from_agent("kato-1", "kato-2")
    assert operator.consul.writes == ["kato-2"]
