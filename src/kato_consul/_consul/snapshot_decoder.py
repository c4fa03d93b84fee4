"""Reading Consul's health answer as a `Snapshot`.

The answers grow with the service: they are decoded by msgspec, straight into what is used of them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from kato_consul.models import Health, Instance, Snapshot

# Consul shows maintenance mode as critical checks with these ids (structs.NodeMaint and
# structs.ServiceMaintPrefix); the second is followed by ":" and the service id.
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance"

_WORST_FIRST = (Health.CRITICAL, Health.WARNING)


class NodeRecord(msgspec.Struct, rename="pascal", gc=False):
    """Whose agent it is."""

    address: str
    node: str = ""
    datacenter: str = ""


class WeightsRecord(msgspec.Struct, rename="pascal", gc=False):
    """The weight by health."""

    passing: int = 1
    warning: int = 1


class ServiceRecord(msgspec.Struct, rename="pascal", gc=False):
    """The registration. Consul says null for what is empty."""

    id: str = msgspec.field(name="ID")
    service: str
    port: int
    address: str | None = None
    tags: tuple[str, ...] | None = None
    meta: dict[str, str] | None = None
    weights: WeightsRecord | None = None


class CheckRecord(msgspec.Struct, rename="pascal", gc=False):
    """One check, of the node or of the service."""

    status: str
    check_id: str = msgspec.field(name="CheckID", default="")
    name: str = ""
    output: str = ""
    notes: str = ""


class HealthRecord(msgspec.Struct, rename="pascal", gc=False):
    """One instance, as ``/v1/health/service/<name>`` lists it."""

    node: NodeRecord
    service: ServiceRecord
    checks: tuple[CheckRecord, ...] | None = None


class _PreparedQueryRecord(msgspec.Struct, rename="pascal", gc=False):
    """The answer of ``/v1/query/<name>/execute``."""

    nodes: list[msgspec.Raw] | None = None


_entry = msgspec.json.Decoder(HealthRecord)
_entries = msgspec.json.Decoder(list[msgspec.Raw])
_executed = msgspec.json.Decoder(_PreparedQueryRecord)

DecodedRecords = dict[bytes, Instance]
"""The entries of the last answer, and what they were read as. Most are the same in the next one: of
a thousand instances that change one by one, one is read."""


def read_snapshot(
    service: str, index: int, body: bytes, memory: DecodedRecords | None = None
) -> Snapshot:
    """The answer of ``/v1/health/service/<name>``, as a snapshot sorted by service id.

    ``memory`` is used, and brought up to date.

    Raises:
        msgspec.DecodeError: it is not such an answer.
    """
    return _snapshot(service, index, _entries.decode(body), memory)


def read_prepared_query(
    service: str, index: int, body: bytes, memory: DecodedRecords | None = None
) -> Snapshot:
    """The same for the answer of a prepared query."""
    return _snapshot(service, index, _executed.decode(body).nodes or [], memory)


def read_instance(entry: HealthRecord) -> Instance:
    """One entry."""
    node, service = entry.node, entry.service
    health, output = read_health(entry.checks or ())
    weights = service.weights or WeightsRecord()
    return Instance(
        id=service.id,
        service=service.service,
        # An empty service address means the node's (Consul's documented rule).
        address=service.address or node.address,
        port=service.port,
        health=health,
        node=node.node,
        datacenter=node.datacenter,
        tags=service.tags or (),
        meta=service.meta or {},
        weight=weights.warning if health is Health.WARNING else weights.passing,
        output=output,
        uid=service.id,
    )


def read_health(checks: Iterable[CheckRecord]) -> tuple[Health, str]:
    """The worst of the checks, as Consul itself aggregates them, and what that check said."""
    worst: dict[str, CheckRecord] = {}
    for check in checks:
        if check.check_id == NODE_MAINTENANCE or check.check_id.startswith(SERVICE_MAINTENANCE):
            return Health.MAINTENANCE, check.notes or "maintenance mode"
        worst.setdefault(check.status, check)
    for health in _WORST_FIRST:
        if health in worst:
            check = worst[health]
            said = check.output or "no output yet"
            return health, f"{check.name or check.check_id}: {said}".strip()
    return Health.PASSING, ""


def _snapshot(
    service: str, index: int, entries: Iterable[msgspec.Raw], memory: DecodedRecords | None
) -> Snapshot:
    before = {} if memory is None else memory
    read: DecodedRecords = {}
    for raw in entries:
        entry = bytes(raw)
        read[entry] = before.get(entry) or read_instance(_entry.decode(entry))
    if memory is not None:
        memory.clear()
        memory.update(read)
    instances = sorted(read.values(), key=lambda one: (one.id, one.node))
    ids = Counter(one.id for one in instances)
    return Snapshot(
        service=service,
        instances=tuple(
            replace(one, uid=f"{one.id}@{one.node}") if ids[one.id] > 1 else one
            for one in instances
        ),
        index=index,
    )
