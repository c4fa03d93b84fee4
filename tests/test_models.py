"""Instances and snapshots: values."""

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
def test_where(address: str, netloc: str) -> None:
    """Host and port, with brackets around an IPv6 address; requests go there by http."""
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
def test_usable(healths: list[Health], usable: list[int]) -> None:
    """Those passing, then those with a warning; never critical ones or those drained."""
    seen = snapshot(*(instance(f"kato-{i}", health) for i, health in enumerate(healths)))
    assert [one.id for one in seen.usable] == [f"kato-{i}" for i in usable]


@pytest.mark.parametrize(
    ("healths", "summary"),
    [
        ([], "no instances"),
        ([P], "1 instance: 1 passing"),
        ([C, P, P], "3 instances: 2 passing, 1 critical"),
        ([M, W], "2 instances: 1 warning, 1 maintenance"),
    ],
)
def test_summary(healths: list[Health], summary: str) -> None:
    """One line: how many, and how they are."""
    seen = snapshot(*(instance(f"kato-{i}", health) for i, health in enumerate(healths)))
    assert seen.summary() == summary


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"output": "it said something else"}, True),
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
def test_equality(change: dict[str, Any], same: bool) -> None:
    """Snapshots are equal when a client would act on them alike: index and output do not count."""
    before = snapshot(instance(), index=1)
    after = snapshot(replace(instance(), **change), index=2)
    assert (before == after) is same


@pytest.mark.parametrize(
    ("value", "name"), [(instance(), "port"), (snapshot(), "instances"), (snapshot(), "index")]
)
def test_frozen(value: Instance | Snapshot, name: str) -> None:
    """Nobody changes one in place."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize(("uid", "expected"), [("", "kato-1"), ("kato-1@n1", "kato-1@n1")])
def test_uid(uid: str, expected: str) -> None:
    """The identity is the id, unless whoever made the snapshot knows better."""
    assert Instance("kato-1", "kato", "10.0.0.5", 8000, uid=uid).uid == expected


def test_hashable() -> None:
    """Instances can be keys and stand in sets: those that are equal are one."""
    one, other = (replace(instance(), meta={"version": version}) for version in ("1", "2"))
    assert len({one, replace(one), replace(one, output="said something else")}) == 1
    assert len({one, other}) == 2
    assert {one: "mine"}[replace(one)] == "mine"
