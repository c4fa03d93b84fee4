"""Reading Consul's health answer: whose address, how healthy, what weight."""

import json
from typing import Any

import msgspec
import pytest

from kato_consul._consul.snapshot_decoder import DecodedRecords, read_prepared_query, read_snapshot
from kato_consul.models import Health, Instance, Snapshot


def entry(service: dict[str, Any] | None = None, *checks: dict[str, Any]) -> dict[str, Any]:
    """One entry of ``/v1/health/service/kato``, with parts of its service replaced."""
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
    """One check."""
    return {"CheckID": name, "Name": name, "Status": status, "Output": output, **fields}


def read(*entries: dict[str, Any]) -> Snapshot:
    """What is read of an answer with these entries."""
    return read_snapshot("kato", 7, json.dumps(entries).encode())


def read_instance(entry: dict[str, Any]) -> Instance:
    """What is read of one entry."""
    return read(entry).instances[0]


def test_whole_entry() -> None:
    """Everything the entry says about an instance is in it."""
    assert read_instance(entry()) == Instance(
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
    ],
)
def test_what_is_left_out(service: dict[str, Any], name: str, value: object) -> None:
    """An empty service address means the node's; what is null has its default."""
    assert getattr(read_instance(entry(service)), name) == value


@pytest.mark.parametrize(
    ("status", "weight"), [("passing", 3), ("warning", 1), ("critical", 3), (None, 3)]
)
def test_weight(status: str | None, weight: int) -> None:
    """An instance with a warning has its weight for that; with no checks it is passing."""
    checks = [] if status is None else [check(status)]
    assert read_instance(entry(None, *checks)).weight == weight


NODE_MAINTENANCE = check("critical", "Node Maintenance Mode", CheckID="_node_maintenance")
SERVICE_MAINTENANCE = check(
    "critical", "Service Maintenance Mode", CheckID="_service_maintenance:kato-1", Notes="upgrade"
)


@pytest.mark.parametrize(
    ("checks", "health", "output"),
    [
        ([], Health.PASSING, ""),
        ([check("passing", output="200 OK")], Health.PASSING, ""),
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
def test_health(checks: list[dict[str, Any]], health: Health, output: str) -> None:
    """The worst check counts, and says why; maintenance counts before all."""
    one = read_instance(entry(None, *checks))
    assert (one.health, one.output) == (health, output)


def test_sorted_by_id() -> None:
    """A snapshot is sorted by id, in whatever order Consul answers."""
    snapshot = read(*(entry({"ID": name}) for name in ("kato-2", "kato-10", "kato-1")))
    assert [one.id for one in snapshot.instances] == ["kato-1", "kato-10", "kato-2"]
    assert (snapshot.service, snapshot.index) == ("kato", 7)


def on(node: str, name: str) -> dict[str, Any]:
    """An entry of an agent of this name."""
    return {**entry({"ID": name}), "Node": {"Node": node, "Address": "10.0.0.1"}}


def test_same_id_on_two_agents() -> None:
    """Ids are unique within an agent only: where two have the same, the node tells them apart."""
    snapshot = read(on("n2", "kato-1"), on("n2", "kato-2"), on("n1", "kato-1"))
    assert [(one.uid, one.id, one.node) for one in snapshot.instances] == [
        ("kato-1@n1", "kato-1", "n1"),
        ("kato-1@n2", "kato-1", "n2"),
        ("kato-2", "kato-2", "n2"),
    ]


@pytest.mark.parametrize("missing", ["Node", "Service"])
def test_not_an_entry(missing: str) -> None:
    """What has no node or no service is not read as an instance."""
    broken = entry()
    del broken[missing]
    with pytest.raises(msgspec.DecodeError):
        read(broken)


def test_prepared_query() -> None:
    """The answer of a prepared query holds the same entries, or null for none."""
    body = {"Service": "kato", "Nodes": [entry()], "Datacenter": "dc1", "Failovers": 0}
    assert read_prepared_query("kato", 0, json.dumps(body).encode()) == read(entry())
    nobody = json.dumps({"Service": "kato", "Nodes": None}).encode()
    assert read_prepared_query("kato", 0, nobody).instances == ()


def test_memory() -> None:
    """What did not change is not read again: it stays the same object; what went is forgotten."""
    memory: DecodedRecords = {}
    first, second, third = (entry({"ID": name}) for name in ("kato-1", "kato-2", "kato-3"))

    def read_on(*entries: dict[str, Any]) -> tuple[Instance, ...]:
        body = json.dumps(entries).encode()
        return read_snapshot("kato", 7, body, memory).instances

    before = read_on(first, second)
    second["Checks"] = [check("critical")]
    after = read_on(first, second, third)
    assert after[0] is before[0]
    assert [one.health for one in after] == [Health.PASSING, Health.CRITICAL, Health.PASSING]
    assert read_on(third) == after[2:]
    assert len(memory) == 1


@pytest.mark.parametrize("body", [b"[{}]", b"[1]", b"[", b'[{"Node": {"Address": ""}}]'])
def test_memory_of_what_cannot_be_read(body: bytes) -> None:
    """An answer that cannot be read leaves the memory as it was."""
    memory: DecodedRecords = {}
    read_snapshot("kato", 7, json.dumps([entry()]).encode(), memory)
    kept = dict(memory)
    with pytest.raises(msgspec.DecodeError):
        read_snapshot("kato", 8, body, memory)
    assert memory == kept
