"""Scenarios in virtual time: bounds on the figures of docs/balancing.md."""

import pytest

from kato_consul._balancing.policies import POLICIES
from tests.simulation import scenarios

SLOW = 2.0
"""Seconds that the slow instance takes for each request."""


def test_cold_start_spreads_evenly() -> None:
    """Three unmeasured instances get about a third of the calls each."""
    figures = scenarios.cold_start("p2c")
    assert figures.failed == 0
    assert figures.share < 0.45


@pytest.mark.parametrize(
    ("policy", "fast_quantile"),
    [("p2c", "p999"), ("least_outstanding", "p99"), ("round_robin", "p50")],
)
def test_slow_instance_gets_few_calls(policy: str, fast_quantile: str) -> None:
    """The slow one of eleven gets few calls.

    Peak EWMA keeps 99.9 of 100 calls from it, least outstanding 99, round robin 91. Finagle's own
    figures are 99.9, 99 and 95.
    """
    figures = scenarios.one_slow_of_eleven(policy)
    assert figures.failed == 0
    assert getattr(figures, fast_quantile) < SLOW / 10
    if policy == "round_robin":
        assert figures.p95 == pytest.approx(SLOW)


@pytest.mark.parametrize("policy", POLICIES)
def test_refusing_instance_fails_no_call(policy: str) -> None:
    """An instance that is down fails no call and gets only a few attempts."""
    figures = scenarios.one_refusing(policy)
    assert (figures.failed, figures.share) == (0, 0.0)
    assert figures.load < 1.02


@pytest.mark.parametrize("policy", POLICIES)
def test_fast_failing_instance_attracts_no_load(policy: str) -> None:
    """An instance that fails fast attracts no load, whatever the policy."""
    figures = scenarios.one_failing(policy)
    assert (figures.failed, figures.share) == (0, 0.0)
    assert figures.load < 1.03


@pytest.mark.parametrize("rate", [50.0, 100.0, 400.0])
@pytest.mark.parametrize("scenario", [scenarios.all_failing, scenarios.all_refusing])
def test_outage_causes_no_retry_storm(scenario: object, rate: float) -> None:
    """If all instances fail, they receive less than 1.3 requests per call."""
    figures = scenario("p2c", rate)  # type: ignore[operator]
    assert figures.failed == figures.offered
    assert 1.0 <= figures.load < 1.3


@pytest.mark.parametrize("policy", POLICIES)
def test_rolling_restart_fails_no_write(policy: str) -> None:
    """Each instance is drained, down for five seconds and back: no write fails."""
    figures = scenarios.rolling_restart(policy)
    assert figures.failed == 0
    assert figures.p999 < 0.2


def test_killed_instance_fails_no_read() -> None:
    """One is killed under load and Consul notices late: no read fails, and none is slow."""
    figures = scenarios.killed("p2c")
    assert figures.failed == 0
    assert figures.p999 < 0.2


@pytest.mark.parametrize("policy", POLICIES)
def test_new_instance_gets_its_share_gradually(policy: str) -> None:
    """A new instance's share grows during slow start."""
    at_first, half_way, afterwards = scenarios.scale_out(policy)
    assert at_first < 0.12
    assert at_first < half_way
    assert 0.15 < afterwards < 0.35


def test_scenarios_are_reproducible() -> None:
    """A scenario gives the same figures in each run, as in the documentation."""
    assert scenarios.killed("p2c") == scenarios.killed("p2c")
