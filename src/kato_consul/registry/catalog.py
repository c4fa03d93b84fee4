"""Reading Consul's health answer as a `Snapshot`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kato_consul.model import Health, Instance, Snapshot

# Consul shows maintenance mode as critical checks with these ids (structs.NodeMaint and
# structs.ServiceMaintPrefix); the second is followed by ":" and the service id.
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance"

_WORST_FIRST = (Health.CRITICAL, Health.WARNING)


def read_snapshot(service: str, index: int, entries: Iterable[Mapping[str, Any]]) -> Snapshot:
    """The answer of ``/v1/health/service/<name>``, as a snapshot sorted by service id."""
    instances = sorted(map(read_instance, entries), key=lambda one: (one.id, one.node))
    ids = Counter(one.id for one in instances)
    return Snapshot(
        service=service,
        instances=tuple(
            replace(one, uid=f"{one.id}@{one.node}") if ids[one.id] > 1 else one
            for one in instances
        ),
        index=index,
    )


def read_instance(entry: Mapping[str, Any]) -> Instance:
    """One entry: ``{"Node": …, "Service": …, "Checks": […]}``. Raises KeyError when it is not."""
    node, service = entry["Node"], entry["Service"]
    checks = entry.get("Checks") or ()
    health, output = read_health(checks)
    weights = service.get("Weights") or {}
    return Instance(
        id=service["ID"],
        service=service["Service"],
        # An empty service address means the node's (Consul's documented rule).
        address=service.get("Address") or node["Address"],
        port=service["Port"],
        health=health,
        node=node.get("Node", ""),
        datacenter=node.get("Datacenter", ""),
        tags=tuple(service.get("Tags") or ()),
        meta=dict(service.get("Meta") or {}),
        weight=weights.get("Warning" if health is Health.WARNING else "Passing", 1),
        output=output,
    )


def read_health(checks: Iterable[Mapping[str, Any]]) -> tuple[Health, str]:
    """The worst of the checks, as Consul itself aggregates them, and what that check said."""
    worst: dict[str, Mapping[str, Any]] = {}
    for check in checks:
        check_id = check.get("CheckID", "")
        if check_id == NODE_MAINTENANCE or check_id.startswith(SERVICE_MAINTENANCE):
            return Health.MAINTENANCE, check.get("Notes") or "maintenance mode"
        worst.setdefault(check["Status"], check)
    for health in _WORST_FIRST:
        if health in worst:
            check = worst[health]
            said = check.get("Output") or "no output yet"
            return health, f"{check.get('Name') or check.get('CheckID')}: {said}".strip()
    return Health.PASSING, ""
