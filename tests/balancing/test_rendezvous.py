"""Rendezvous hashing: stable, even, by weight, and the same in every process."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from kato_consul._balancing import rendezvous
from kato_consul._balancing.rendezvous import rank, score
from kato_consul.models import Instance
from tests.building import instance

KEYS = [f"session-{number:05}" for number in range(10_000)]


def fleet(size: int) -> list[Instance]:
    """Return instances kato-1, kato-2, …"""
    return [instance(f"kato-{number}") for number in range(1, size + 1)]


def primaries(instances: list[Instance]) -> dict[str, str]:
    """Return the first choice of each key."""
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
def test_order_is_pinned(key: str, order: list[str]) -> None:
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
def test_score_is_pinned(key: str, instance_id: str, weight: int, expected: float) -> None:
    """Scores are pinned: a change of the hash would move all sessions."""
    assert score(key, instance_id, weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("digest", [b"\x00" * 8, b"\xff" * 8])
def test_extreme_hashes_have_a_score(monkeypatch: pytest.MonkeyPatch, digest: bytes) -> None:
    """The lowest and the highest hash have a score above 0 and finite."""

    class Hash:
        def digest(self) -> bytes:
            return digest

    monkeypatch.setattr(rendezvous, "blake2b", lambda *args, **options: Hash())
    assert 0 < score("user-1", "kato-1") < math.inf


def test_same_id_on_two_agents() -> None:
    """Instances with the same id are ranked by uid, each key in its own order."""
    one, other = (
        replace(instance("kato-1"), node=node, uid=f"kato-1@{node}") for node in ("n1", "n2")
    )
    firsts = Counter(rank(key, [one, other])[0].node for key in KEYS)
    assert firsts["n1"] == pytest.approx(len(KEYS) / 2, rel=0.1)
    assert all(rank(key, [one, other]) == rank(key, [other, one]) for key in KEYS[:100])


def test_order_of_instances_does_not_matter() -> None:
    """The ranking does not depend on the order of the instances."""
    assert all(rank(key, fleet(5)) == rank(key, fleet(5)[::-1]) for key in KEYS[:100])


def test_address_does_not_matter() -> None:
    """An instance that returns at another address keeps its sessions."""
    before = fleet(3)
    after = [replace(one, address="elsewhere.test", port=9) for one in before]
    assert all(
        [one.id for one in rank(key, before)] == [one.id for one in rank(key, after)]
        for key in KEYS[:100]
    )


@pytest.mark.parametrize("size", [3, 10])
def test_sessions_are_spread_evenly(size: int) -> None:
    """Each instance gets its share of the sessions, within a tenth."""
    share = len(KEYS) / size
    counts = Counter(primaries(fleet(size)).values())
    assert len(counts) == size
    assert all(abs(count - share) < share / 10 for count in counts.values()), counts


def test_leaving_instance_moves_only_its_own_sessions() -> None:
    """When an instance leaves, only its own sessions move, each to its second choice."""
    all_instances = fleet(5)
    left = [one for one in all_instances if one.id != "kato-3"]
    before, after = primaries(all_instances), primaries(left)
    assert {key for key in KEYS if before[key] != after[key]} == {
        key for key in KEYS if before[key] == "kato-3"
    }
    assert all(
        after[key] == rank(key, all_instances)[1].id for key in KEYS if before[key] == "kato-3"
    )


def test_moved_sessions_are_spread() -> None:
    """The sessions of an instance that leaves are spread over all others."""
    moved = [key for key, primary in primaries(fleet(5)).items() if primary == "kato-3"]
    counts = Counter(rank(key, fleet(5))[1].id for key in moved)
    share = len(moved) / 4
    assert all(abs(count - share) < share / 5 for count in counts.values()), counts


def test_joining_instance_gets_its_share() -> None:
    """When an instance joins, sessions move only to it, and no more than its share."""
    before, after = primaries(fleet(4)), primaries(fleet(5))
    moved = [after[key] for key in KEYS if before[key] != after[key]]
    assert set(moved) == {"kato-5"}
    assert len(moved) == pytest.approx(len(KEYS) / 5, rel=0.1)


def test_sessions_follow_weights() -> None:
    """An instance gets sessions in proportion to its weight."""
    weighted = [instance(f"kato-{weight}", weight=weight) for weight in (1, 2, 7)]
    counts = Counter(primaries(weighted).values())
    for weight in (1, 2, 7):
        assert counts[f"kato-{weight}"] == pytest.approx(len(KEYS) * weight / 10, rel=0.1)


def test_higher_weight_only_adds_sessions() -> None:
    """An instance whose weight rises gets sessions from others and loses none."""
    before = primaries(fleet(3))
    after = primaries([replace(one, weight=2) if one.id == "kato-2" else one for one in fleet(3)])
    assert {after[key] for key in KEYS if before[key] != after[key]} == {"kato-2"}


def test_weight_zero_is_last() -> None:
    """Instances of weight 0 are last, in the order of their ids."""
    weightless = [instance("kato-9", weight=0), instance("kato-8", weight=0)]
    for key in KEYS[:100]:
        assert [one.id for one in rank(key, [*weightless, *fleet(3)])][3:] == ["kato-8", "kato-9"]


def test_rank_without_instances() -> None:
    """Without instances the ranking is empty."""
    assert rank("user-1", []) == []
