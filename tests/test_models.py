"""Models: instances and snapshots are values."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from kato_consul.models import Health, Instance, Snapshot
from tests.building import instance, snapshot

P, W, C, M = Health.PASSING, Health.WARNING, Health.CRITICAL, Health.MAINTENANCE


@pytest.mark.parametrize(
    ("address", "netloc"),
    [
        ("10.0.0.5", "10.0.0.5:8000"),
        ("kato.test", "kato.test:8000"),
        ("::1", "[::1]:8000"),
        ("2001:db8::5", "[2001:db8::5]:8000"),
    ],
)
def test_netloc_and_origin(address: str, netloc: str) -> None:
    """Host and port, with brackets around an IPv6 address; the origin is http."""
    one = instance(address=address)
    assert (one.netloc, one.origin) == (netloc, f"http://{netloc}")


@pytest.mark.parametrize(
    ("healths", "usable"),
    [
        ([], []),
        ([P, P], [0, 1]),
        ([P, W, C, M], [0, 1]),
        ([W, P, C, W, P, M], [1, 4, 0, 3]),
        ([W, C, W], [0, 2]),
        ([C, M], []),
    ],
)
def test_usable_instances_are_passing_or_warning(healths: list[Health], usable: list[int]) -> None:
    """Passing instances, then those with a warning; never critical ones or those in maintenance."""
    current = snapshot(*(instance(f"kato-{i}", health) for i, health in enumerate(healths)))
    assert [one.id for one in current.usable] == [f"kato-{i}" for i in usable]


@pytest.mark.parametrize(
    ("healths", "usable"),
    [
        ([], []),
        ([P, C], [0]),
        ([W, C], [0]),
        ([C, M, C], [0, 2]),
        ([M], []),
    ],
)
def test_critical_instances_are_used_if_no_other_is_healthy(
    healths: list[Health], usable: list[int]
) -> None:
    """With ``use_critical``, and no healthy instance, all critical ones with a valid address are
    used."""
    instances = [instance(f"kato-{i}", health) for i, health in enumerate(healths)]
    odd = instance("odd", C, address="http://odd")
    current = replace(snapshot(*instances, odd), use_critical=True)
    expected = [f"kato-{i}" for i in usable]
    assert [one.id for one in current.usable] == expected
    assert [one.id for one in current.instances if current.uses(one)] == expected


@pytest.mark.parametrize(
    "address",
    ["10.0.0.5", "::1", "fe80::1%eth0", "kato", "kato_1", "a.b-c.test", "kato.test.", "x" * 63],
)
def test_valid_address_is_usable(address: str) -> None:
    """IP addresses, also with a zone, and host names, also those of containers."""
    for port in (1, 65_535):
        one = Instance("kato-1", "kato", address, port)
        assert (one.address_error, one.usable) == ("", True)


@pytest.mark.parametrize(
    ("address", "port", "error"),
    [
        *(("10.0.0.5", port, "its port is") for port in (0, -7, 65_536, 10**30)),
        *(
            (address, 8000, "its address is")
            for address in (
                "",
                " ",
                "a b",
                "a\0b",
                "kato.test\n",
                "127.0.0.1\r\nx: y",
                "http://10.0.0.5",
                "10.0.0.5:8000",
                "10.0.0.5/../x",
                "user@10.0.0.5",
                "[::1]",
                "[bad",
                "1:2",
                "a..b",
                ".a",
                "x" * 64,
                "x." * 127 + "x",
                "\u2603",
                "k\u00e4to.test",
                "\ud800",
            )
        ),
    ],
)
def test_invalid_address_is_never_usable(address: str, port: int, error: str) -> None:
    """An instance that no request can be sent to is listed, with the reason, and not usable."""
    bad = Instance("kato-1", "kato", address, port)
    assert bad.address_error.startswith(error)
    assert not bad.usable
    current = snapshot(bad, instance("kato-2"))
    assert [one.id for one in current.usable] == ["kato-2"]
    assert [one.id for one in current.instances] == ["kato-1", "kato-2"]


@pytest.mark.parametrize(
    ("healths", "summary"),
    [
        ([], "no instances"),
        ([P], "1 instance: 1 passing"),
        ([C, P, P], "3 instances: 2 passing, 1 critical"),
        ([M, W], "2 instances: 1 warning, 1 maintenance"),
    ],
)
def test_summary_counts_instances_by_health(healths: list[Health], summary: str) -> None:
    """One line: the number of instances, in all and by health."""
    current = snapshot(*(instance(f"kato-{i}", health) for i, health in enumerate(healths)))
    assert current.summary() == summary


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"output": "other output"}, True),
        ({"health": W}, False),
        ({"node": "n2"}, False),
        ({"uid": "kato-1@n1"}, False),
        ({"address": "10.0.0.9"}, False),
        ({"port": 9}, False),
        ({"weight": 2}, False),
        ({"tags": ("new",)}, False),
        ({"meta": {"new": "1"}}, False),
    ],
)
def test_equality_ignores_index_and_output(change: dict[str, Any], same: bool) -> None:
    """Snapshots are equal if a client would treat them alike."""
    before = snapshot(instance(), index=1)
    after = snapshot(replace(instance(), **change), index=2)
    assert (before == after) is same


@pytest.mark.parametrize(
    ("value", "name"), [(instance(), "port"), (snapshot(), "instances"), (snapshot(), "index")]
)
def test_value_cannot_be_changed(value: Instance | Snapshot, name: str) -> None:
    """Instances and snapshots are immutable."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(("uid", "expected"), [("", "kato-1"), ("kato-1@n1", "kato-1@n1")])
def test_uid_is_the_id_by_default(uid: str, expected: str) -> None:
    """The uid is the id, unless it was set."""
    assert Instance("kato-1", "kato", "10.0.0.5", 8000, uid=uid).uid == expected


def test_equal_instances_have_equal_hashes() -> None:
    """Instances can be keys and members of sets."""
    one, other = (replace(instance(), meta={"version": version}) for version in ("1", "2"))
    assert len({one, replace(one), replace(one, output="other output")}) == 1
    assert len({one, other}) == 2
    assert {one: "mine"}[replace(one)] == "mine"
