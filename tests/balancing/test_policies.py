"""Policies: how often each instance is picked, by weight, load and cost."""

from collections import Counter

import pytest

from kato_consul._balancing.policies import (
    IDLE_TIE,
    POLICIES,
    LeastOutstanding,
    PowerOfTwo,
    RoundRobin,
    Uniform,
    Weighted,
    draw_by_weight,
    policy_for,
)
from kato_consul._protocols import Policy
from kato_consul.errors import ConfigurationError
from tests.balancing.fake_pool_view import FakePoolView, seeded
from tests.building import instance

A, B, C = (instance(f"kato-{name}") for name in "abc")
ALL = (A, B, C)
PICKS = 3_000


def shares(policy: Policy, view: FakePoolView, among: tuple = ALL) -> dict[str, float]:  # type: ignore[type-arg]
    """Return each instance's share of the picks."""
    random = seeded()
    counts = Counter(policy.pick(among, view, random).uid for _ in range(PICKS))
    return {one.uid: counts[one.uid] / PICKS for one in among}


def about(**expected: float) -> object:
    """Match these shares, within the random spread of so many picks."""
    return pytest.approx({f"kato-{name}": share for name, share in expected.items()}, abs=0.04)


@pytest.mark.parametrize("name", POLICIES)
def test_equal_instances_get_equal_shares(name: str) -> None:
    """Each policy spreads requests evenly over equal instances."""
    assert shares(POLICIES[name](), FakePoolView()) == about(a=1 / 3, b=1 / 3, c=1 / 3)


@pytest.mark.parametrize("name", POLICIES)
def test_only_instance_is_always_picked(name: str) -> None:
    """A single instance is picked whatever its weight, load and cost."""
    view = FakePoolView(weights={"kato-a": 0.0}, busy={"kato-a": 99}, costs={"kato-a": 99.0})
    assert POLICIES[name]().pick((A,), view, seeded()) is A


@pytest.mark.parametrize("policy", [Uniform(), Weighted()])
def test_shares_follow_weights(policy: Policy) -> None:
    """Policies by weight give each instance its share of the weights."""
    view = FakePoolView(weights={"kato-a": 5.0, "kato-b": 1.0, "kato-c": 2.0})
    assert shares(policy, view) == about(a=5 / 8, b=1 / 8, c=2 / 8)


def test_weighted_is_smooth() -> None:
    """The turns of a heavy instance are spread out: nginx's example of 5, 1, 1."""
    view, policy = FakePoolView(weights={"kato-a": 5.0}), Weighted()
    picked = [policy.pick(ALL, view, seeded()).uid[-1] for _ in range(7)]
    assert "".join(picked) == "aabacaa"


def test_round_robin_continues_when_instances_change() -> None:
    """Picks go in the order of uids, and continue there when instances join or leave."""
    policy, view = RoundRobin(), FakePoolView()
    order = [ALL, ALL, (A, C), (A, C), ALL, ALL]
    picked = [policy.pick(among, view, seeded()).uid[-1] for among in order]
    assert "".join(picked) == "abcabc"


def test_round_robin_skips_new_instances() -> None:
    """An instance at a tenth of its full weight gets about a tenth of its turns."""
    view = FakePoolView(weights={"kato-a": 0.1}, full={"kato-a": 1.0})
    assert shares(RoundRobin(), view)["kato-a"] < 0.08


def test_p2c_picks_the_cheaper() -> None:
    """The most expensive of three is never picked; the cheapest is whenever it is drawn."""
    view = FakePoolView(costs={"kato-a": 1.0, "kato-b": 2.0, "kato-c": 3.0})
    assert shares(PowerOfTwo(), view) == about(a=2 / 3, b=1 / 3, c=0.0)


NEARLY = IDLE_TIE / 2
"""Seconds of a difference in cost that is a tie between idle instances."""


@pytest.mark.parametrize(
    ("costs", "busy", "share_of_a"),
    [
        ({"kato-a": NEARLY, "kato-b": 0.0}, {}, 1 / 2),
        ({"kato-a": 0.0, "kato-b": NEARLY}, {}, 1 / 2),
        ({"kato-a": 2 * IDLE_TIE, "kato-b": 0.0}, {}, 0.0),
        ({"kato-a": NEARLY, "kato-b": 0.0}, {"kato-a": 1}, 0.0),
        ({"kato-a": NEARLY, "kato-b": 0.0}, {"kato-b": 1}, 0.0),
    ],
)
def test_p2c_ties(costs: dict[str, float], busy: dict[str, int], share_of_a: float) -> None:
    """A small difference in cost is a tie if both are idle, and decides if one is busy."""
    view = FakePoolView(costs=costs, busy=busy)
    assert shares(PowerOfTwo(), view, (A, B)) == about(a=share_of_a, b=1 - share_of_a)


def test_p2c_ties_follow_weights() -> None:
    """Of idle instances each gets the share of its weight."""
    view = FakePoolView(weights={"kato-a": 3.0}, costs={"kato-a": NEARLY, "kato-b": 0.0})
    assert shares(PowerOfTwo(), view, (A, B)) == about(a=3 / 4, b=1 / 4)


def test_p2c_draws_new_instances_less_often() -> None:
    """An instance at a tenth of its weight is drawn less often, however cheap it is."""
    view = FakePoolView(weights={"kato-a": 0.1}, costs={"kato-a": 0.0})
    assert shares(PowerOfTwo(), view)["kato-a"] < 0.25


def test_least_outstanding_counts_by_weight() -> None:
    """The instance with the fewest requests in flight for its weight is picked."""
    view = FakePoolView(busy={"kato-a": 3, "kato-b": 1, "kato-c": 2})
    assert LeastOutstanding().pick(ALL, view, seeded()) is B
    view = FakePoolView(busy={"kato-a": 3, "kato-b": 1, "kato-c": 2}, weights={"kato-a": 8.0})
    assert LeastOutstanding().pick(ALL, view, seeded()) is A


@pytest.mark.parametrize("policy", [PowerOfTwo(), LeastOutstanding(), Uniform(), Weighted()])
def test_weight_zero_is_almost_never_picked(policy: Policy) -> None:
    """Weight 0 means: only if there is no other. Almost so where two are drawn."""
    assert shares(policy, FakePoolView(weights={"kato-a": 0.0}))["kato-a"] < 0.01


def test_policy_by_name_or_object() -> None:
    """A name creates a new policy each time; the user's own object is returned unchanged."""
    assert policy_for("round_robin") == RoundRobin()
    assert policy_for("round_robin") is not policy_for("round_robin")
    custom = Uniform()
    assert policy_for(custom) is custom
    with pytest.raises(ConfigurationError, match=r"one of p2c, .*, not 'ring'"):
        policy_for("ring")


def test_draw_with_all_weights_zero() -> None:
    """If all weights are 0, one is drawn all the same."""
    view = FakePoolView(weights=dict.fromkeys(("kato-a", "kato-b", "kato-c"), 0.0))
    assert draw_by_weight(ALL, view, seeded()) in ALL
