"""Load tracking: costs are peak EWMA times requests in flight."""

import math

import pytest

from kato_consul._balancing.load_tracker import (
    DECAY,
    MIN_FAILURE_LATENCY,
    UNMEASURED_LATENCY,
    LoadTracker,
)

BEGIN = 1_000.0


def finish(
    tracker: LoadTracker, took: float, now: float = BEGIN, *, succeeded: bool = True
) -> None:
    """Record one finished request."""
    tracker.finished("kato-1", tracker.started("kato-1"), now, took, succeeded=succeeded)


def test_unmeasured_instance_costs_nothing_until_a_request_is_in_flight() -> None:
    """Without any reply the cost is 0 when idle and `UNMEASURED_LATENCY` with one request."""
    tracker = LoadTracker()
    assert tracker.cost("kato-1", BEGIN) == 0.0
    tracker.started("kato-1")
    assert tracker.cost("kato-1", BEGIN) == UNMEASURED_LATENCY


@pytest.mark.parametrize("took", [0.001, 0.03, 2.0])
def test_first_reply_sets_the_mean(took: float) -> None:
    """The mean latency is that of the first reply."""
    tracker = LoadTracker()
    finish(tracker, took)
    assert tracker.mean_latency("kato-1", BEGIN) == took


def test_slower_reply_counts_at_once() -> None:
    """A slower reply raises the mean at once; a faster one lowers it with time."""
    tracker = LoadTracker()
    finish(tracker, 0.1)
    finish(tracker, 0.5)
    assert tracker.mean_latency("kato-1", BEGIN) == 0.5
    finish(tracker, 0.1, BEGIN)
    assert tracker.mean_latency("kato-1", BEGIN) == 0.5
    finish(tracker, 0.1, BEGIN + DECAY)
    old = math.exp(-1)
    assert tracker.mean_latency("kato-1", BEGIN + DECAY) == pytest.approx(
        0.5 * old + 0.1 * (1 - old)
    )


def test_cost_decays_while_idle() -> None:
    """Without requests an instance becomes cheaper, and so is tried again in the end."""
    tracker = LoadTracker()
    finish(tracker, 5.0)
    costs = [tracker.cost("kato-1", BEGIN + elapsed) for elapsed in (0, 5, 10, 60)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.02


def test_cost_grows_with_requests_in_flight() -> None:
    """Each request in flight adds one mean latency; its end removes it."""
    tracker = LoadTracker()
    finish(tracker, 0.1)
    tokens = [tracker.started("kato-1") for _ in range(3)]
    assert tracker.outstanding("kato-1") == 3
    assert tracker.cost("kato-1", BEGIN) == pytest.approx(0.4)
    tracker.abandoned("kato-1", tokens.pop())
    tracker.finished("kato-1", tokens.pop(), BEGIN, 0.1, succeeded=True)
    assert tracker.outstanding("kato-1") == 1


@pytest.mark.parametrize(("took", "recorded"), [(0.001, MIN_FAILURE_LATENCY), (3.0, 3.0)])
def test_failure_counts_as_slow(took: float, recorded: float) -> None:
    """A fast failure counts as taking `MIN_FAILURE_LATENCY`."""
    tracker = LoadTracker()
    finish(tracker, took, succeeded=False)
    assert tracker.mean_latency("kato-1", BEGIN) == recorded


def test_abandoned_request_leaves_the_mean() -> None:
    """A request that the caller gave up does not change the mean latency."""
    tracker = LoadTracker()
    finish(tracker, 0.2)
    tracker.abandoned("kato-1", tracker.started("kato-1"))
    assert tracker.mean_latency("kato-1", BEGIN) == 0.2


def test_removed_instance_starts_anew() -> None:
    """A removed instance has no record, also when one of its requests ends later."""
    tracker = LoadTracker()
    token = tracker.started("kato-1")
    tracker.remove(["kato-1"])
    tracker.finished("kato-1", token, BEGIN, 9.0, succeeded=True)
    tracker.abandoned("kato-1", token)
    assert tracker.cost("kato-1", BEGIN) == 0.0
