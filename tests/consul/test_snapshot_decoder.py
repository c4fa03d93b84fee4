"""Snapshot decoder: address, health and weight from Consul's health responses."""

import json
from typing import Any

import msgspec
import pytest

from kato_consul._consul.snapshot_decoder import (
    AddressChoice,
    DecodedRecords,
    read_prepared_query,
    read_snapshot,
)
from kato_consul.models import Health, Instance, Snapshot


def record(service: dict[str, Any] | None = None, *checks: dict[str, Any]) -> dict[str, Any]:
    """Return a record of ``/v1/health/service/kato``, with parts of its service replaced."""
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1"},
        "Service": {
            "ID": "kato-1",
            "Service": "kato",
            "Address": "10.0.0.5",
            "Port": 8000,
            "Tags": ["a", "b"],
            "Meta": {"version": "3.10.1"},
            "Weights": {"Passing": 3, "Warning": 1},
            **(service or {}),
        },
        "Checks": list(checks),
    }


def check(status: str, name: str = "alive", output: str = "", **fields: str) -> dict[str, Any]:
    """Return a check."""
    return {"CheckID": name, "Name": name, "Status": status, "Output": output, **fields}


def read(*records: dict[str, Any]) -> Snapshot:
    """Return the snapshot of a response with these records."""
    return read_snapshot("kato", 7, json.dumps(records).encode())


def read_instance(record: dict[str, Any]) -> Instance:
    """Return the instance of one record."""
    return read(record).instances[0]


def test_complete_record() -> None:
    """All fields of a record are in the instance."""
    assert read_instance(record()) == Instance(
        id="kato-1",
        service="kato",
        address="10.0.0.5",
        port=8000,
        health=Health.PASSING,
        node="n1",
        datacenter="dc1",
        tags=("a", "b"),
        meta={"version": "3.10.1"},
        weight=3,
    )


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ({"Address": ""}, "address", "10.0.0.1"),
        ({"Address": None}, "address", "10.0.0.1"),
        ({"Address": "2001:db8::5"}, "netloc", "[2001:db8::5]:8000"),
        ({"Tags": None}, "tags", ()),
        ({"Meta": None}, "meta", {}),
        ({"Weights": None}, "weight", 1),
        ({"Weights": {}}, "weight", 1),
        ({"Weights": {"Passing": -1}}, "weight", 0),
        ({"Weights": {"Passing": 10**30}}, "weight", 65_535),
    ],
)
def test_empty_fields_have_defaults(service: dict[str, Any], name: str, value: object) -> None:
    """An empty service address stands for the node's; a null has its default; weights have
    limits."""
    assert getattr(read_instance(record(service)), name) == value


TAGGED = {"lan": {"Address": "10.0.0.5", "Port": 8000}, "wan": {"Address": "192.0.2.7", "Port": 80}}
NODE = {
    "Node": "n1",
    "Address": "10.0.0.1",
    "TaggedAddresses": {"lan": "10.0.0.1", "wan": "192.0.2.1", "lan_ipv6": "2001:db8::1"},
}


@pytest.mark.parametrize(
    ("tag", "service", "netloc"),
    [
        ("", {"TaggedAddresses": TAGGED}, "10.0.0.5:8000"),
        ("wan", {"TaggedAddresses": TAGGED}, "192.0.2.7:80"),
        ("wan", {"TaggedAddresses": {"wan": {"Address": "192.0.2.7"}}}, "192.0.2.7:8000"),
        ("wan", {"TaggedAddresses": {"wan": {"Address": "", "Port": 80}}}, "10.0.0.5:8000"),
        ("wan", {"TaggedAddresses": None}, "10.0.0.5:8000"),
        ("wan", {"Address": ""}, "192.0.2.1:8000"),
        ("lan_ipv6", {"Address": ""}, "[2001:db8::1]:8000"),
        ("wan_ipv6", {"Address": ""}, "10.0.0.1:8000"),
        (
            "mine",
            {"TaggedAddresses": {"mine": {"Address": "kato.test", "Port": 0}}},
            "kato.test:8000",
        ),
    ],
)
def test_address_with_a_tag(tag: str, service: dict[str, Any], netloc: str) -> None:
    """The address with the tag is used, of the service or, if it has no address, of its node; its
    own address if there is none with this tag."""
    body = json.dumps([{**record(service), "Node": NODE}]).encode()
    snapshot = read_snapshot("kato", 7, body, choice=AddressChoice(tag=tag))
    assert snapshot.instances[0].netloc == netloc


PORTS = [{"Name": "admin", "Port": 9090}, {"Name": "http", "Port": 8080, "Default": True}]


@pytest.mark.parametrize(
    ("name", "service", "port"),
    [
        ("", {"Port": 0, "Ports": PORTS}, 8080),
        ("", {"Port": 0, "Ports": PORTS[:1]}, 9090),
        ("", {"Port": 7000, "Ports": PORTS}, 7000),
        ("", {"Port": 0, "Ports": []}, 0),
        ("", {"Port": 0, "Ports": None}, 0),
        ("", {"Port": 0}, 0),
        ("", {"Port": 0, "Ports": [{"Name": "a", "Port": 1}, {"Name": "b", "Port": 2}]}, 0),
        ("admin", {"Port": 0, "Ports": PORTS}, 9090),
        ("admin", {"Port": 7000, "Ports": PORTS}, 9090),
        ("grpc", {"Port": 7000, "Ports": PORTS}, 0),
        ("grpc", {"Port": 7000}, 7000),
    ],
)
def test_named_ports(name: str, service: dict[str, Any], port: int) -> None:
    """The port with the name, else the service's, else the default one of its ports. Without one
    it cannot be used."""
    body = json.dumps([record(service)]).encode()
    snapshot = read_snapshot("kato", 7, body, choice=AddressChoice(port_name=name))
    assert snapshot.instances[0].port == port
    assert snapshot.instances[0].usable is (port > 0)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ({"Service": {"ID": "odd", "Service": "kato", "Port": "80"}}, "'odd': Expected `int`"),
        ({"Node": None}, "'kato-1': Expected `object`"),
        ({"Service": None}, "an instance without an id: Expected"),
        ({"Checks": 3}, "'kato-1': Expected `array"),
    ],
)
def test_record_that_cannot_be_read_does_not_hide_the_others(
    broken: dict[str, Any], text: str
) -> None:
    """The other instances are in the snapshot, and it names the entry that cannot be read."""
    snapshot = read({**record(), **broken}, record({"ID": "kato-2"}))
    assert [one.id for one in snapshot.instances] == ["kato-2"]
    (unreadable,) = snapshot.unreadable
    assert unreadable.startswith(text)
    assert snapshot.summary() == "1 instance: 1 passing; 1 cannot be read"


def test_record_that_is_not_utf8_does_not_hide_the_others() -> None:
    """A proxy, or an agent of another kind, may send any bytes."""
    body = json.dumps([record({"Meta": {"zone": "ODD"}}), record({"ID": "kato-2"})]).encode()
    snapshot = read_snapshot("kato", 7, body.replace(b"ODD", b"\xff"))
    assert [one.id for one in snapshot.instances] == ["kato-2"]
    (unreadable,) = snapshot.unreadable
    assert unreadable.startswith("'kato-1': 'utf-8' codec can't decode")


@pytest.mark.parametrize(
    ("status", "weight"), [("passing", 3), ("warning", 1), ("critical", 3), (None, 3)]
)
def test_weight_depends_on_health(status: str | None, weight: int) -> None:
    """An instance with a warning has the warning weight; without checks it is passing."""
    checks = [] if status is None else [check(status)]
    assert read_instance(record(None, *checks)).weight == weight


NODE_MAINTENANCE = check("critical", "Node Maintenance Mode", CheckID="_node_maintenance")
SERVICE_MAINTENANCE = check(
    "critical", "Service Maintenance Mode", CheckID="_service_maintenance:kato-1", Notes="upgrade"
)


@pytest.mark.parametrize(
    ("checks", "health", "output"),
    [
        ([], Health.PASSING, ""),
        ([check("passing", output="200 OK")], Health.PASSING, ""),
        (
            [
                check("passing", "alive", "200 OK"),
                check("passing", "probe", "its machine is busy: High CPU usage"),
                check("passing", "other"),
            ],
            Health.PASSING,
            "probe: its machine is busy: High CPU usage",
        ),
        (
            [check("passing", "probe", "its machine is busy: x"), check("warning", "new", "odd")],
            Health.WARNING,
            "new: odd",
        ),
        ([check("passing"), check("warning", "disk", "90 %")], Health.WARNING, "disk: 90 %"),
        (
            [check("warning"), check("critical", "redis", "refused\n"), check("passing")],
            Health.CRITICAL,
            "redis: refused",
        ),
        ([check("critical", "one", "1"), check("critical", "two", "2")], Health.CRITICAL, "one: 1"),
        ([check("critical", "new")], Health.CRITICAL, "new: no output yet"),
        ([check("critical"), NODE_MAINTENANCE], Health.MAINTENANCE, "maintenance mode"),
        ([check("passing"), SERVICE_MAINTENANCE], Health.MAINTENANCE, "upgrade"),
    ],
)
def test_worst_check_is_the_health(
    checks: list[dict[str, Any]], health: Health, output: str
) -> None:
    """Health and output are those of the worst check; maintenance has precedence."""
    instance = read_instance(record(None, *checks))
    assert (instance.health, instance.output) == (health, output)


def test_snapshot_is_sorted_by_id() -> None:
    """A snapshot is sorted by id, for any order of the response."""
    snapshot = read(*(record({"ID": name}) for name in ("kato-2", "kato-10", "kato-1")))
    assert [one.id for one in snapshot.instances] == ["kato-1", "kato-10", "kato-2"]
    assert (snapshot.service, snapshot.index) == ("kato", 7)


def on(node: str, name: str) -> dict[str, Any]:
    """Return a record of an instance at the agent of this node."""
    return {**record({"ID": name}), "Node": {"Node": node, "Address": "10.0.0.1"}}


def test_same_id_at_two_agents_has_two_uids() -> None:
    """Ids are unique within an agent only: the uids of equal ids contain the node."""
    snapshot = read(on("n2", "kato-1"), on("n2", "kato-2"), on("n1", "kato-1"))
    assert [(one.uid, one.id, one.node) for one in snapshot.instances] == [
        ("kato-1@n1", "kato-1", "n1"),
        ("kato-1@n2", "kato-1", "n2"),
        ("kato-2", "kato-2", "n2"),
    ]


@pytest.mark.parametrize("missing", ["Node", "Service"])
def test_incomplete_record_is_refused(missing: str) -> None:
    """A record without a node or a service is an error."""
    incomplete = record()
    del incomplete[missing]
    with pytest.raises(msgspec.DecodeError):
        read(incomplete)


def test_prepared_query_has_the_same_records() -> None:
    """The response of a prepared query has the same records, or null for none."""
    body = {"Service": "kato", "Nodes": [record()], "Datacenter": "dc1", "Failovers": 0}
    assert read_prepared_query("kato", 0, json.dumps(body).encode()) == read(record())
    empty = json.dumps({"Service": "kato", "Nodes": None}).encode()
    assert read_prepared_query("kato", 0, empty).instances == ()


def test_unchanged_records_are_not_decoded_again() -> None:
    """An unchanged record keeps its instance object; a record that is gone is removed."""
    decoded: DecodedRecords = {}
    first, second, third = (record({"ID": name}) for name in ("kato-1", "kato-2", "kato-3"))

    def read_next(*records: dict[str, Any]) -> tuple[Instance, ...]:
        body = json.dumps(records).encode()
        return read_snapshot("kato", 7, body, decoded).instances

    before = read_next(first, second)
    second["Checks"] = [check("critical")]
    after = read_next(first, second, third)
    assert after[0] is before[0]
    assert [one.health for one in after] == [Health.PASSING, Health.CRITICAL, Health.PASSING]
    assert read_next(third) == after[2:]
    assert len(decoded) == 1


@pytest.mark.parametrize("body", [b"[{}]", b"[1]", b"[", b'[{"Node": {"Address": ""}}]'])
def test_invalid_response_does_not_change_the_decoded_records(body: bytes) -> None:
    """A response that cannot be decoded leaves the decoded records unchanged."""
    decoded: DecodedRecords = {}
    read_snapshot("kato", 7, json.dumps([record()]).encode(), decoded)
    kept = dict(decoded)
    with pytest.raises(msgspec.DecodeError):
        read_snapshot("kato", 8, body, decoded)
    assert decoded == kept
