"""Policies: how often each instance is picked, by what is known of it."""

from collections import Counter

import pytest

from kato_consul._balancing.policies import (
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
from tests.balancing.views import Sight, seeded
from tests.building import instance

A, B, C = (instance(f"kato-{name}") for name in "abc")
ALL = (A, B, C)
TIMES = 3_000


def shares(policy: Policy, view: Sight, among: tuple = ALL) -> dict[str, float]:  # type: ignore[type-arg]
    """The share of picks that each got."""
    random = seeded()
    counts = Counter(policy.pick(among, view, random).uid for _ in range(TIMES))
    return {one.uid: counts[one.uid] / TIMES for one in among}


def near(**expected: float) -> object:
    """These shares, within what chance does to so many picks."""
    return pytest.approx({f"kato-{name}": share for name, share in expected.items()}, abs=0.04)


@pytest.mark.parametrize("name", POLICIES)
def test_alike(name: str) -> None:
    """Where nothing tells them apart, each policy spreads evenly."""
    assert shares(POLICIES[name](), Sight()) == near(a=1 / 3, b=1 / 3, c=1 / 3)


@pytest.mark.parametrize("name", POLICIES)
def test_the_only_one(name: str) -> None:
    """One alone is picked, whatever speaks against it."""
    sight = Sight(weights={"kato-a": 0.0}, busy={"kato-a": 99}, costs={"kato-a": 99.0})
    assert POLICIES[name]().pick((A,), sight, seeded()) is A


@pytest.mark.parametrize("policy", [Uniform(), Weighted()])
def test_by_weight(policy: Policy) -> None:
    """Those that go by weight give each its share of the weights."""
    sight = Sight(weights={"kato-a": 5.0, "kato-b": 1.0, "kato-c": 2.0})
    assert shares(policy, sight) == near(a=5 / 8, b=1 / 8, c=2 / 8)


def test_weighted_is_smooth() -> None:
    """Its weight in turns, and not all of them in a row: nginx's example of 5, 1, 1."""
    sight, policy = Sight(weights={"kato-a": 5.0}), Weighted()
    picked = [policy.pick(ALL, sight, seeded()).uid[-1] for _ in range(7)]
    assert "".join(picked) == "aabacaa"


def test_round_robin() -> None:
    """In the order of their ids, and on from there when somebody comes or goes."""
    policy, sight = RoundRobin(), Sight()
    order = [ALL, ALL, (A, C), (A, C), ALL, ALL]
    picked = [policy.pick(among, sight, seeded()).uid[-1] for among in order]
    assert "".join(picked) == "abcabc"


def test_round_robin_spares_newcomers() -> None:
    """One that has a tenth of its weight yet gets about a tenth of a turn."""
    sight = Sight(weights={"kato-a": 0.1}, full={"kato-a": 1.0})
    assert shares(RoundRobin(), sight)["kato-a"] < 0.08


def test_p2c_takes_the_cheaper() -> None:
    """The dearest of three is never taken of two; the cheapest is whenever it is drawn."""
    sight = Sight(costs={"kato-a": 1.0, "kato-b": 2.0, "kato-c": 3.0})
    assert shares(PowerOfTwo(), sight) == near(a=2 / 3, b=1 / 3, c=0.0)


def test_p2c_spares_newcomers() -> None:
    """One that has a tenth of its weight is drawn less often, however cheap it is."""
    sight = Sight(weights={"kato-a": 0.1}, costs={"kato-a": 0.0})
    assert shares(PowerOfTwo(), sight)["kato-a"] < 0.25


def test_least_outstanding() -> None:
    """The one with the least to do for its weight."""
    sight = Sight(busy={"kato-a": 3, "kato-b": 1, "kato-c": 2})
    assert LeastOutstanding().pick(ALL, sight, seeded()) is B
    sight = Sight(busy={"kato-a": 3, "kato-b": 1, "kato-c": 2}, weights={"kato-a": 8.0})
    assert LeastOutstanding().pick(ALL, sight, seeded()) is A


@pytest.mark.parametrize("policy", [PowerOfTwo(), LeastOutstanding(), Uniform(), Weighted()])
def test_weight_nought(policy: Policy) -> None:
    """A weight of 0 means: only when there is nobody else. Nearly so, where two are drawn."""
    assert shares(policy, Sight(weights={"kato-a": 0.0}))["kato-a"] < 0.01


def test_by_name_or_value() -> None:
    """A name makes a new one each time; an object of the user's own is taken as it is."""
    assert policy_for("round_robin") == RoundRobin()
    assert policy_for("round_robin") is not policy_for("round_robin")
    own = Uniform()
    assert policy_for(own) is own
    with pytest.raises(ConfigurationError, match=r"one of p2c, .*, not 'ring'"):
        policy_for("ring")


def test_all_weights_nought() -> None:
    """When all weigh nothing, one is drawn all the same."""
    sight = Sight(weights=dict.fromkeys(("kato-a", "kato-b", "kato-c"), 0.0))
    assert draw_by_weight(ALL, sight, seeded()) in ALL
