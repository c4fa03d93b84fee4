"""Session placement: first choices, within the bound."""

import math
from collections import Counter

import pytest

from kato_consul._balancing.rendezvous import rank
from kato_consul._balancing.session_placement import BALANCE_FACTOR, SessionPlacement, ranked
from tests.balancing.test_zones import zoned_pool
from tests.building import instance

INSTANCES = [instance(f"kato-{number}") for number in range(1, 4)]


def test_first_session_gets_its_first_choice() -> None:
    """A single session's primary is its first choice."""
    for number in range(20):
        key = f"session-{number}"
        assert SessionPlacement().place(key, "", INSTANCES, "") == rank(key, INSTANCES)[0]


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1_000])
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 4)])
def test_no_instance_exceeds_the_bound(count: int, weights: tuple[int, ...]) -> None:
    """No instance ever has more than 1.25 times its share, rounded up."""
    among = [instance(f"kato-{n}", weight=weight) for n, weight in enumerate(weights)]
    placement = SessionPlacement()
    for number in range(1, count + 1):
        placement.place(f"session-{number}", "", among, "")
        for one in among:
            share = one.weight / sum(weights)
            assert placement[one.uid] <= math.ceil(BALANCE_FACTOR * number * share)
    assert sum(placement[one.uid] for one in among) == count


def test_most_sessions_get_their_first_choice() -> None:
    """The bound moves few sessions: hashing alone is within it for most."""
    placement, moved = SessionPlacement(), Counter[bool]()
    for number in range(1_000):
        key = f"session-{number}"
        moved[placement.place(key, "", INSTANCES, "") != rank(key, INSTANCES)[0]] += 1
    assert moved[True] < 100


def test_moved_session_is_counted_once() -> None:
    """A session that moves is no longer counted for its old primary."""
    placement = SessionPlacement()
    first = placement.place("session", "", INSTANCES, "")
    others = [one for one in INSTANCES if one is not first]
    second = placement.place("session", first.uid, others, "")
    assert second in others
    assert [placement[one.uid] for one in (first, second)] == [0, 1]
    placement.release(second.uid)
    assert placement[second.uid] == 0


def test_all_weights_zero() -> None:
    """If all weights are 0, a session is placed without a division by zero."""
    among = [instance(f"kato-{n}", weight=0) for n in range(3)]
    assert SessionPlacement().place("session", "", among, "") in among


def test_client_zone_first() -> None:
    """A session prefers its client's zone, and within it its own ranking."""
    among, _ = zoned_pool(local=2, critical=0, remote=3)
    for number in range(20):
        choices = ranked(f"session-{number}", among, "a")
        assert [one.zone for one in choices] == ["a", "a", "b", "b", "b"]
        assert [one for one in choices if one.zone == "b"] == rank(
            f"session-{number}", [one for one in among if one.zone == "b"]
        )
