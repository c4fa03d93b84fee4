"""Balancing as a whole, in virtual time: the figures of docs/balancing.md, held as bounds."""

import pytest

from kato_consul._balancing.policies import POLICIES
from tests.simulation import scenarios

SLOW = 2.0
"""Seconds that the slow one of eleven takes."""


def test_cold_start() -> None:
    """Three that nothing is known of get about a third of the calls each."""
    found = scenarios.cold_start("p2c")
    assert found.failed == 0
    assert found.extreme < 0.45


@pytest.mark.parametrize(
    ("policy", "good"), [("p2c", "p999"), ("least_outstanding", "p99"), ("round_robin", "p50")]
)
def test_one_slow_of_eleven(policy: str, good: str) -> None:
    """Peak EWMA keeps 99.9 of 100 away from the slow one, least outstanding 99, round robin 91:
    what Finagle found of its own (95, 99 and 99.9)."""
    found = scenarios.one_slow_of_eleven(policy)
    assert found.failed == 0
    assert getattr(found, good) < SLOW / 10
    if policy == "round_robin":
        assert found.p95 == pytest.approx(SLOW)


@pytest.mark.parametrize("policy", POLICIES)
def test_one_refusing(policy: str) -> None:
    """One that is gone costs nobody a call, and is asked a few times only."""
    found = scenarios.one_refusing(policy)
    assert (found.failed, found.extreme) == (0, 0.0)
    assert found.load < 1.02


@pytest.mark.parametrize("policy", POLICIES)
def test_one_failing(policy: str) -> None:
    """One that fails quickly draws no load, whatever the policy."""
    found = scenarios.one_failing(policy)
    assert (found.failed, found.extreme) == (0, 0.0)
    assert found.load < 1.03


@pytest.mark.parametrize("rate", [50.0, 100.0, 400.0])
@pytest.mark.parametrize("scenario", [scenarios.all_failing, scenarios.all_refusing])
def test_no_storm(scenario: object, rate: float) -> None:
    """With every instance failing they see less than 1.3 requests for each call."""
    found = scenario("p2c", rate)  # type: ignore[operator]
    assert found.failed == found.offered
    assert 1.0 <= found.load < 1.3


@pytest.mark.parametrize("policy", POLICIES)
def test_rolling_restart(policy: str) -> None:
    """Every instance drained, gone for five seconds and back: no write fails."""
    found = scenarios.rolling_restart(policy)
    assert found.failed == 0
    assert found.p999 < 0.2


def test_killed() -> None:
    """One killed under load, and Consul late to notice: no read fails, and none is slow."""
    found = scenarios.killed("p2c")
    assert found.failed == 0
    assert found.p999 < 0.2


@pytest.mark.parametrize("policy", POLICIES)
def test_scale_out(policy: str) -> None:
    """A newcomer gets its share little by little."""
    at_first, half_way, afterwards = scenarios.scale_out(policy)
    assert at_first < 0.12
    assert at_first < half_way
    assert 0.15 < afterwards < 0.35


def test_same_each_time() -> None:
    """A run is the same each time: the figures in the documentation can be had again."""
    assert scenarios.killed("p2c") == scenarios.killed("p2c")
