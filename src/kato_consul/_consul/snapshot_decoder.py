"""Snapshot decoder: decodes Consul's health responses into snapshots.

The responses grow with the service, so msgspec decodes only the fields that are used.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from kato_consul.models import Health, Instance, Snapshot

# Consul represents maintenance mode as critical checks with these ids (structs.NodeMaint and
# structs.ServiceMaintPrefix); the second is followed by ":" and the service id.
NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance"

NODE_HEALTH = "serfHealth"
"""The id of the check by which Consul itself reports whether a node's agent is alive. A node that
was only registered in the catalog has none."""

MAX_WEIGHT = 65_535
"""Consul's limit (structs.Weights)."""

BUSY_NOTE = "its machine is busy"
"""How the output of the registrar's probe begins if the instance works on a busy machine."""

_WORST_FIRST = (Health.CRITICAL, Health.WARNING)


class NodeRecord(msgspec.Struct, rename="pascal", gc=False):
    """The node of the agent that registered the service."""

    address: str
    node: str = ""
    datacenter: str = ""
    tagged_addresses: dict[str, str] | None = None


class TaggedAddressRecord(msgspec.Struct, rename="pascal", gc=False):
    """Another address of the service."""

    address: str = ""
    port: int = 0


class PortRecord(msgspec.Struct, rename="pascal", gc=False):
    """One of the named ports of the service (Consul 1.22)."""

    name: str
    port: int
    default: bool = False


class WeightsRecord(msgspec.Struct, rename="pascal", gc=False):
    """The weights by health."""

    passing: int = 1
    warning: int = 1


class ServiceRecord(msgspec.Struct, rename="pascal", gc=False):
    """The service. Consul returns null for an empty value."""

    id: str = msgspec.field(name="ID")
    service: str
    port: int
    address: str | None = None
    tags: tuple[str, ...] | None = None
    meta: dict[str, str] | None = None
    weights: WeightsRecord | None = None
    tagged_addresses: dict[str, TaggedAddressRecord] | None = None
    ports: tuple[PortRecord, ...] | None = None


class CheckRecord(msgspec.Struct, rename="pascal", gc=False):
    """One check of the node or of the service."""

    status: str
    check_id: str = msgspec.field(name="CheckID", default="")
    name: str = ""
    output: str = ""
    notes: str = ""


class HealthRecord(msgspec.Struct, rename="pascal", gc=False):
    """One instance in the response of ``/v1/health/service/<name>``."""

    node: NodeRecord
    service: ServiceRecord
    checks: tuple[CheckRecord, ...] | None = None


class _PreparedQueryRecord(msgspec.Struct, rename="pascal", gc=False):
    """The response of ``/v1/query/<name>/execute``."""

    nodes: list[msgspec.Raw] | None = None


class _IdentifiedService(msgspec.Struct):
    id: str = msgspec.field(name="ID")


class _IdentifiedRecord(msgspec.Struct):
    service: _IdentifiedService = msgspec.field(name="Service")


_record_decoder = msgspec.json.Decoder(HealthRecord)
_records_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_prepared_query_decoder = msgspec.json.Decoder(_PreparedQueryRecord)
_identified_decoder = msgspec.json.Decoder(_IdentifiedRecord)


@dataclass(frozen=True, slots=True)
class AddressChoice:
    """Which address and port of an instance are used: the address with this tag, such as ``wan``,
    if it has one; and the port with this name. Empty: its own address, and its default port.

    ``scheme`` and ``path`` are those of instances whose metadata has none."""

    tag: str = ""
    port_name: str = ""
    scheme: str = "http"
    path: str = ""


OWN_ADDRESS = AddressChoice()

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a record; the second for bytes that are not UTF-8."""

DecodedRecords = dict[bytes, Instance]
"""The raw records of the last response, with the instances they were decoded to. Most records do
not change from one response to the next: if one of a thousand instances changes, one record is
decoded."""


def read_snapshot(
    service: str,
    index: int,
    body: bytes,
    decoded: DecodedRecords | None = None,
    *,
    choice: AddressChoice = OWN_ADDRESS,
    use_critical: bool = False,
) -> Snapshot:
    """Decode a response of ``/v1/health/service/<name>`` into a snapshot sorted by service id.

    Records in ``decoded`` are not decoded again; it is updated to the records of this response.
    ``use_critical`` is as in `Snapshot`. A record that cannot be decoded does not hide the others:
    the snapshot has it in ``unreadable``.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not such a response, or none
            of its records can be decoded.
    """
    records = _records_decoder.decode(body)
    return _snapshot(service, index, records, decoded, choice, use_critical)


def read_prepared_query(
    service: str,
    index: int,
    body: bytes,
    decoded: DecodedRecords | None = None,
    *,
    choice: AddressChoice = OWN_ADDRESS,
    use_critical: bool = False,
) -> Snapshot:
    """Decode the response of a prepared query, as `read_snapshot` does."""
    records = _prepared_query_decoder.decode(body).nodes or []
    return _snapshot(service, index, records, decoded, choice, use_critical)


def read_instance(record: HealthRecord, choice: AddressChoice) -> Instance:
    """Return the instance that a record describes."""
    node, service = record.node, record.service
    meta = service.meta or {}
    health, output = read_health(record.checks or ())
    weights = service.weights or WeightsRecord()
    address, port = _address_and_port(node, service, choice)
    return Instance(
        id=service.id,
        service=service.service,
        address=address,
        port=port,
        health=health,
        node=node.node,
        datacenter=node.datacenter,
        tags=service.tags or (),
        meta=meta,
        weight=_weight(weights.warning if health is Health.WARNING else weights.passing),
        output=output,
        uid=service.id,
        scheme=meta.get("scheme") or choice.scheme,
        path=(meta.get("path") or choice.path).rstrip("/"),
    )


def _address_and_port(
    node: NodeRecord, service: ServiceRecord, choice: AddressChoice
) -> tuple[str, int]:
    """Return the address and port to use; port 0 if there is none.

    An empty service address stands for the node's (Consul's documented rule), and so its tagged
    addresses for the node's. A service with several ports may have 0 as its ``Port``.
    """
    address, port = service.address or node.address, service.port
    if choice.tag:
        tagged = (service.tagged_addresses or {}).get(choice.tag)
        if tagged is not None and tagged.address:
            address, port = tagged.address, tagged.port or port
        elif not service.address:
            address = (node.tagged_addresses or {}).get(choice.tag) or address
    ports = service.ports or ()
    if choice.port_name and ports:
        port = next((one.port for one in ports if one.name == choice.port_name), 0)
    elif not port:
        port = next((one.port for one in ports if one.default or len(ports) == 1), 0)
    return address, port


def _weight(weight: int) -> int:
    """Return a weight within the limits of Consul, which an older agent may not have checked."""
    return min(max(weight, 0), MAX_WEIGHT)


def read_health(checks: Iterable[CheckRecord]) -> tuple[Health, str]:
    """Return the worst status of the checks, as Consul aggregates them, and that check's output.

    If all pass, the output is that of a probe that found the instance's machine busy.
    """
    worst: dict[str, CheckRecord] = {}
    busy = ""
    for check in checks:
        if check.output.startswith(BUSY_NOTE):
            busy = f"{check.name}: {check.output}"
        if check.check_id == NODE_MAINTENANCE or check.check_id.startswith(SERVICE_MAINTENANCE):
            return Health.MAINTENANCE, check.notes or "maintenance mode"
        worst.setdefault(check.status, check)
    for health in _WORST_FIRST:
        if health in worst:
            check = worst[health]
            if check.check_id == NODE_HEALTH:
                return health, f"its node is dead: {check.output or check.name}".strip()
            output = check.output or "no output yet"
            return health, f"{check.name or check.check_id}: {output}".strip()
    return Health.PASSING, busy


def _snapshot(
    service: str,
    index: int,
    records: Sequence[msgspec.Raw],
    decoded: DecodedRecords | None,
    choice: AddressChoice,
    use_critical: bool,
) -> Snapshot:
    before = {} if decoded is None else decoded
    after: DecodedRecords = {}
    unreadable = []
    for raw in records:
        record = bytes(raw)
        known = before.get(record)
        try:
            after[record] = known or read_instance(_record_decoder.decode(record), choice)
        except _UNREADABLE as error:
            unreadable.append(f"{_id_in(record)}: {error}")
            if len(unreadable) == len(records):
                raise
    if decoded is not None:
        decoded.clear()
        decoded.update(after)
    instances = sorted(after.values(), key=lambda instance: (instance.id, instance.node))
    ids = Counter(instance.id for instance in instances)
    return Snapshot(
        service=service,
        instances=tuple(
            replace(instance, uid=f"{instance.id}@{instance.node}")
            if ids[instance.id] > 1
            else instance
            for instance in instances
        ),
        index=index,
        use_critical=use_critical,
        unreadable=tuple(sorted(unreadable)),
    )


def _id_in(record: bytes) -> str:
    """Return the id in a record that cannot be decoded, or a placeholder."""
    with contextlib.suppress(*_UNREADABLE):
        return repr(_identified_decoder.decode(record).service.id)
    return "an instance without an id"
