"""Placing: a home with room, and no more than that."""

import math
from collections import Counter

import pytest

from kato_consul._balancing.rendezvous import rank
from kato_consul._balancing.session_placement import BALANCE_FACTOR, SessionPlacement, ranked
from tests.balancing.test_zones import pool
from tests.building import instance

INSTANCES = [instance(f"kato-{number}") for number in range(1, 4)]


def test_first_choice() -> None:
    """A first session lives at its first choice."""
    for number in range(20):
        key = f"session-{number}"
        assert SessionPlacement().place(key, "", INSTANCES, "") == rank(key, INSTANCES)[0]


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1_000])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 4)])
def test_bounded(count: int, weights: tuple[int, ...]) -> None:
    """At no time has anybody more than 1.25 times its share, rounded up."""
    among = [instance(f"kato-{n}", weight=weight) for n, weight in enumerate(weights)]
    homes = SessionPlacement()
    for number in range(1, count + 1):
        homes.place(f"session-{number}", "", among, "")
        for one in among:
            share = one.weight / sum(weights)
            assert homes[one.uid] <= math.ceil(BALANCE_FACTOR * number * share)
    assert sum(homes[one.uid] for one in among) == count


def test_mostly_at_the_first_choice() -> None:
    """The bound moves few: hashing alone is within it for most."""
    homes, moved = SessionPlacement(), Counter[bool]()
    for number in range(1_000):
        key = f"session-{number}"
        moved[homes.place(key, "", INSTANCES, "") != rank(key, INSTANCES)[0]] += 1
    assert moved[True] < 100


def test_moving() -> None:
    """A session that moves leaves its old place free."""
    homes = SessionPlacement()
    first = homes.place("session", "", INSTANCES, "")
    others = [one for one in INSTANCES if one is not first]
    second = homes.place("session", first.uid, others, "")
    assert second in others
    assert [homes[one.uid] for one in (first, second)] == [0, 1]
    homes.release(second.uid)
    assert homes[second.uid] == 0


def test_nobody_weighs_anything() -> None:
    """Weights of 0 all over do not divide by nothing."""
    among = [instance(f"kato-{n}", weight=0) for n in range(3)]
    assert SessionPlacement().place("session", "", among, "") in among


def test_near_ones_first() -> None:
    """A session prefers its client's zone, and within it its own ranking."""
    among, _ = pool(here=2, ill=0, elsewhere=3)
    for number in range(20):
        choices = ranked(f"session-{number}", among, "a")
        assert [one.zone for one in choices] == ["a", "a", "b", "b", "b"]
        assert [one for one in choices if one.zone == "b"] == rank(
            f"session-{number}", [one for one in among if one.zone == "b"]
        )
