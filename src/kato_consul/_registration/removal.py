"""Removal: deregisters instances for an operator, and finds out what keeps them registered.

An agent knows only its own instances, so one that it does not have is looked up in the catalog. On
a node whose agent is dead, or that never had one, it can be removed only from the catalog. On a
living node this would be in vain: the agent adds its instances to the catalog again. So would a
registrar that runs, to its agent: what was deregistered is watched until it would have done so. A
registrar in a program leaves no sign of itself beside plain checks, so all are watched, except what
`register` has left: the agent runs the check of its probe.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, T, call_consul, call_consul_with_retry
from kato_consul._consul.permissions import (
    NODE_READ,
    SERVICE_READ,
    hidden_service,
    read_permissions,
)
from kato_consul._consul.snapshot_decoder import NODE_HEALTH
from kato_consul._definitions.rules import MAX_PORT, name_in_paths, service_name
from kato_consul._definitions.schema import ServiceDefinition, probe_check_id
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.reconciler import RECONCILE_INTERVAL
from kato_consul._registration.registering import Checks, Services
from kato_consul._registration.registrar_state import OWNER_KEY
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    DefinitionError,
    StillRegistered,
)
from kato_consul.models import Health

PUT_BACK_WITHIN = 2.5 * RECONCILE_INTERVAL
"""Seconds within which a registrar that runs registers an instance again, if its agent answers."""

PUT_BACK_POLL = 0.25
"""Seconds from one read of the agent to the next meanwhile."""


CATALOG_LAG = 1.0
"""Seconds within which the catalog no longer lists what an agent has deregistered."""


@dataclass(frozen=True)
class NodeEntry:
    """A node of the catalog that has an instance; ``alive``: its agent would add it again."""

    name: str
    address: str
    alive: bool


@dataclass(frozen=True)
class Removal:
    """Flows that deregister instances by their ids."""

    api: ConsulApi
    clock: Clock
    random: Random
    on_event: EventSink
    consul_within: float

    def from_agent(self, instances: Mapping[str, str]) -> Flow[None]:
        """Flow: deregister the instances from the agent. One that no node has is not an error.

        ``instances`` maps their ids to the names of their services.

        Raises:
            ConsulDenied: the token may not read the service, so it is not known whether an
                instance is registered.
            StillRegistered: another node has an instance, or it was registered again.
            ConsulError: the first error; the other instances were deregistered all the same.
        """
        services: Services = yield from self._execute(self.api.agent_services())
        checks: Checks = yield from self._execute(self.api.agent_checks())
        missing = {one: name for one, name in instances.items() if one not in services}
        elsewhere, unknown, hidden = yield from self._elsewhere(missing)
        reasons = {one: _on_other_nodes(one, nodes) for one, nodes in elsewhere.items()}
        first_error: ConsulError | None = None
        managed: dict[str, str] = {}
        for service_id, name in instances.items():
            if service_id in elsewhere:
                continue
            if service_id not in services:
                if name in hidden:
                    first_error = first_error or hidden[name]
                elif unknown:
                    self.on_event(RegistrarEvent.NOT_ON_AGENT, service_id, why=unknown)
                else:
                    self.on_event(RegistrarEvent.NOT_REGISTERED, service_id)
                continue
            try:
                yield from self._execute(self.api.deregister(service_id))
            except ConsulError as error:
                first_error = first_error or error
                continue
            self.on_event(RegistrarEvent.DEREGISTERED, service_id)
            if registrar := registrar_of(service_id, services[service_id], checks):
                managed[service_id] = registrar
        if first_error is not None:
            raise first_error
        for service_id in (yield from self._registered_again(managed)):
            reasons[service_id] = (
                f"registered again by {managed[service_id]}, which is running. End it, or remove "
                "the instance from its definitions; it deregisters the instance itself then"
            )
        if reasons:
            raise StillRegistered(reasons)

    def from_node(self, node: str, ids: Iterable[str]) -> Flow[None]:
        """Flow: remove the instances of a dead node from the catalog.

        Raises:
            StillRegistered: the node is alive, and has an instance.
            ConsulRejected: the catalog has no such node.
            ConsulError: Consul did not answer, or the token is not allowed to do this.
        """
        record = yield from self.node_record(node)
        services = record["Services"]
        entry = yield from self._node(node, record["Node"]["Address"])
        wanted = list(dict.fromkeys(ids))
        if entry.alive and (listed := [one for one in wanted if one in services]):
            raise StillRegistered({one: _of_living_node(one, entry) for one in listed})
        for service_id in wanted:
            if service_id in services:
                yield from self._execute(self.api.deregister_from_catalog(node, service_id))
                self.on_event(RegistrarEvent.DEREGISTERED, service_id)
            else:
                self.on_event(RegistrarEvent.NOT_REGISTERED, service_id)

    def registered(
        self, node: str | None = None, service: str | None = None
    ) -> Flow[list[ServiceDefinition]]:
        """Flow: read the instances of one or any service that the agent has, or a node of the
        catalog, whatever registered them."""
        if node is None:
            services = yield from self._execute(self.api.agent_services())
        else:
            services = (yield from self.node_record(node))["Services"]
        found = [
            _definition_of(service_id, one)
            for service_id, one in services.items()
            if one.get("Port")  # a service without a port is not an instance
            and (service is None or one["Service"] == service)
            and name_in_paths(service_id) is None  # no request can deregister it
        ]
        if service is not None and not found:
            allowed = yield from read_permissions(self.api, service)
            if not allowed.get(SERVICE_READ, True):
                raise hidden_service(self.api, service)
        return found

    def node_record(self, node: str) -> Flow[dict[str, Any]]:
        """Flow: read a node of the catalog (``Node``) with its services by id (``Services``).

        Raises:
            ConsulRejected: the catalog has no such node.
            ConsulError: as `from_node`.
        """
        call = self.api.catalog_node(node)
        record = yield from self._execute(call)
        if record is None:
            why = "the catalog has no such node, or the token may not read it (node:read)"
            raise ConsulRejected(self.api.address, call.what, 404, why)
        return record

    def _elsewhere(
        self, missing: Mapping[str, str]
    ) -> Flow[tuple[dict[str, list[NodeEntry]], str, dict[str, ConsulDenied]]]:
        """Flow: return which nodes of the catalog have instances that the agent does not have; why
        this is not known, or ""; and the services that Consul hides.

        The agent's own node may be listed for a moment after the agent has deregistered one.
        """
        if not missing:
            return {}, "", {}
        until = self.clock() + CATALOG_LAG
        while True:
            try:
                found = yield from self._look_up(missing)
            except ConsulError as error:  # the agent answers also while it has no servers
                return {}, str(error), {}
            living = any(node.alive for nodes in found.values() for node in nodes)
            if not living or self.clock() >= until:
                break
            yield Sleep(PUT_BACK_POLL)
        hidden: dict[str, ConsulDenied] = {}
        unknown = ""
        for service in sorted({*missing.values()}):
            allowed = yield from read_permissions(self.api, service)
            if not allowed.get(SERVICE_READ, True):
                hidden[service] = hidden_service(self.api, service)
            if not allowed.get(NODE_READ, True):
                unknown = f"the token lacks {NODE_READ}"
        return found, unknown, hidden

    def _look_up(self, ids: Collection[str]) -> Flow[dict[str, list[NodeEntry]]]:
        found: dict[str, list[NodeEntry]] = {}
        for service in (yield from call_consul(self.api.service_names())):
            for one in (yield from call_consul(self.api.catalog_service(service, ids))):
                node = yield from self._node(one["Node"], one["Address"])
                found.setdefault(one["ServiceID"], []).append(node)
        return found

    def _node(self, name: str, address: str) -> Flow[NodeEntry]:
        checks = yield from call_consul(self.api.node_checks(name))
        alive = any(
            check["CheckID"] == NODE_HEALTH and check["Status"] != Health.CRITICAL.value
            for check in checks
        )
        return NodeEntry(name, address, alive)

    def _registered_again(self, ids: Collection[str]) -> Flow[list[str]]:
        """Flow: return which of the ids the agent has again, as soon as it has all of them."""
        until = self.clock() + PUT_BACK_WITHIN
        again: list[str] = []
        while len(again) < len(ids) and self.clock() < until:
            yield Sleep(PUT_BACK_POLL)
            services = yield from self._execute(self.api.agent_services())
            again = [service_id for service_id in ids if service_id in services]
        return again

    def _execute(self, call: ConsulCall[T]) -> Flow[T]:
        return call_consul_with_retry(
            call, self.consul_within, clock=self.clock, random=self.random
        )


def registrar_of(service_id: str, service: Mapping[str, Any], checks: Checks) -> str:
    """Return what may be managing an instance, for people; empty if nothing is.

    A crashed registrar leaves the same signs for some time.
    """
    if owner := (service.get("Meta") or {}).get(OWNER_KEY):
        return f"the 'kato-consul run' or 'exec' of {owner}"
    probe = checks.get(probe_check_id(service_id), {}).get("Type")
    if probe == "http":  # a startup job's
        return ""
    in_program = "a registrar in a program (Registrar, AsyncRegistrar, 'kato-consul dev')"
    return in_program if probe == "ttl" else f"another program, such as {in_program}"


def _on_other_nodes(service_id: str, nodes: Iterable[NodeEntry]) -> str:
    return "; ".join(
        _of_living_node(service_id, node)
        if node.alive
        else f"on node {node.name}, whose agent is dead: "
        f"'{deregister_command(service_id, node.name)}' removes it"
        for node in nodes
    )


def deregister_command(service_id: str, node: str = "") -> str:
    """Return the command that deregisters an instance, of a dead node if it is given."""
    of_node = f" --node {shlex.quote(node)}" if node else ""
    return f"kato-consul deregister {shlex.quote(service_id)}{of_node}"


def _of_living_node(service_id: str, node: NodeEntry) -> str:
    return (
        f"on node {node.name} ({node.address}), whose agent is alive and would register it "
        f"again. Use that agent: '{deregister_command(service_id)} --consul ADDRESS', with the "
        f"address of the agent of {node.name}"
    )


def _definition_of(service_id: str, service: Mapping[str, Any]) -> ServiceDefinition:
    """Return the definition of a service that the agent has.

    Other programs may have registered what the rules reject, such as an address with a port in it,
    or the port 70000. It can be deregistered all the same.
    """
    name, port = service["Service"], service["Port"]
    address, meta = service.get("Address") or "", service.get("Meta") or {}
    try:
        return ServiceDefinition(
            name=name,
            id=service_id,
            address=address,
            port=port,
            meta={key: meta[key] for key in ("scheme", "path") if key in meta},
        )
    except DefinitionError:
        valid = port if 0 < port <= MAX_PORT else 1
        valid_name = "?" if service_name(name) else name
        return ServiceDefinition(name=valid_name, id=service_id, port=valid)
