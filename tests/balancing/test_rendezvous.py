"""Affinity: stable, even, by weight, and the same in every process."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from kato_consul._balancing import rendezvous as affinity
from kato_consul._balancing.rendezvous import rank, score
from kato_consul.models import Instance
from tests.building import instance

KEYS = [f"session-{number:05}" for number in range(10_000)]


def fleet(size: int) -> list[Instance]:
    """Instances kato-1, kato-2, …"""
    return [instance(f"kato-{number}") for number in range(1, size + 1)]


def homes(instances: list[Instance]) -> dict[str, str]:
    """Where each key's session lives."""
    return {key: rank(key, instances)[0].id for key in KEYS}


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("user-1", ["kato-2", "kato-4", "kato-3", "kato-1"]),
        ("user-2", ["kato-2", "kato-4", "kato-1", "kato-3"]),
        ("ключ", ["kato-4", "kato-2", "kato-3", "kato-1"]),
        ("", ["kato-3", "kato-1", "kato-4", "kato-2"]),
    ],
)
def test_same_everywhere(key: str, order: list[str]) -> None:
    """The order is the same in every process, on every machine, in every release."""
    assert [one.id for one in rank(key, fleet(4))] == order


@pytest.mark.parametrize(
    ("key", "instance_id", "weight", "expected"),
    [
        ("user-1", "kato-1", 1, 0.4036995068699025),
        ("user-1", "kato-2", 1, 28.198382911454),
        ("user-1", "kato-2", 3, 84.595148734362),
        ("user-1", "kato-2", 0, -0.0),
    ],
)
def test_score(key: str, instance_id: str, weight: int, expected: float) -> None:
    """Scores are pinned: a change of the hash would move everybody's sessions."""
    assert score(key, instance_id, weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("digest", [b"\x00" * 8, b"\xff" * 8])
def test_ends(monkeypatch: pytest.MonkeyPatch, digest: bytes) -> None:
    """The lowest and the highest hash have a score as well, above 0 and finite."""

    class Hash:
        def digest(self) -> bytes:
            return digest

    monkeypatch.setattr(affinity, "blake2b", lambda *args, **options: Hash())
    assert 0 < score("user-1", "kato-1") < math.inf


def test_same_id_on_two_agents() -> None:
    """Instances with the same id are ranked by what tells them apart, each key in its own order."""
    one, other = (
        replace(instance("kato-1"), node=node, uid=f"kato-1@{node}") for node in ("n1", "n2")
    )
    firsts = Counter(rank(key, [one, other])[0].node for key in KEYS)
    assert firsts["n1"] == pytest.approx(len(KEYS) / 2, rel=0.1)
    assert all(rank(key, [one, other]) == rank(key, [other, one]) for key in KEYS[:100])


def test_order_of_instances_does_not_matter() -> None:
    """Clients that list the instances in another order agree."""
    assert all(rank(key, fleet(5)) == rank(key, fleet(5)[::-1]) for key in KEYS[:100])


def test_address_does_not_matter() -> None:
    """An instance that returns at another address has its sessions back."""
    before = fleet(3)
    after = [replace(one, address="elsewhere.test", port=9) for one in before]
    assert all(
        [one.id for one in rank(key, before)] == [one.id for one in rank(key, after)]
        for key in KEYS[:100]
    )


@pytest.mark.parametrize("size", [3, 10])
def test_even(size: int) -> None:
    """Sessions are spread evenly, within a tenth of each instance's share."""
    share = len(KEYS) / size
    counts = Counter(homes(fleet(size)).values())
    assert len(counts) == size
    assert all(abs(count - share) < share / 10 for count in counts.values()), counts


def test_one_goes() -> None:
    """When an instance goes, only its own sessions move, each to its second choice."""
    everybody = fleet(5)
    left = [one for one in everybody if one.id != "kato-3"]
    before, after = homes(everybody), homes(left)
    assert {key for key in KEYS if before[key] != after[key]} == {
        key for key in KEYS if before[key] == "kato-3"
    }
    assert all(after[key] == rank(key, everybody)[1].id for key in KEYS if before[key] == "kato-3")


def test_those_that_move_are_spread() -> None:
    """The sessions of one that goes do not all fall on the same other one."""
    moved = [key for key, home in homes(fleet(5)).items() if home == "kato-3"]
    counts = Counter(rank(key, fleet(5))[1].id for key in moved)
    share = len(moved) / 4
    assert all(abs(count - share) < share / 5 for count in counts.values()), counts


def test_one_comes() -> None:
    """When an instance comes, sessions move to it alone, and no more than its share."""
    before, after = homes(fleet(4)), homes(fleet(5))
    moved = [after[key] for key in KEYS if before[key] != after[key]]
    assert set(moved) == {"kato-5"}
    assert len(moved) == pytest.approx(len(KEYS) / 5, rel=0.1)


def test_weights() -> None:
    """An instance has sessions in proportion to its weight."""
    weighted = [instance(f"kato-{weight}", weight=weight) for weight in (1, 2, 7)]
    counts = Counter(homes(weighted).values())
    for weight in (1, 2, 7):
        assert counts[f"kato-{weight}"] == pytest.approx(len(KEYS) * weight / 10, rel=0.1)


def test_weight_moves_only_what_it_must() -> None:
    """An instance that gets heavier takes sessions from others, and loses none."""
    before = homes(fleet(3))
    after = homes([replace(one, weight=2) if one.id == "kato-2" else one for one in fleet(3)])
    assert {after[key] for key in KEYS if before[key] != after[key]} == {"kato-2"}


def test_weight_zero_is_last() -> None:
    """Weight 0 is for when nobody else is left; among such, it is the id that decides."""
    nobody = [instance("kato-9", weight=0), instance("kato-8", weight=0)]
    for key in KEYS[:100]:
        assert [one.id for one in rank(key, [*nobody, *fleet(3)])][3:] == ["kato-8", "kato-9"]


def test_nobody() -> None:
    """Of no instances there is no order."""
    assert rank("user-1", []) == []
