"""Costs: peak EWMA by requests in hand."""

import math

import pytest

from kato_consul._balancing.load_tracker import DECAY, MIN_FAILURE_LATENCY, UNMEASURED_LATENCY, LoadTracker

BEGIN = 1_000.0


def answered(loads: LoadTracker, took: float, now: float = BEGIN, *, succeeded: bool = True) -> None:
    """One request that ended so."""
    loads.finished("kato-1", loads.started("kato-1"), now, took, succeeded=succeeded)


def test_unmeasured() -> None:
    """Who never answered costs nothing, and much as soon as somebody tries."""
    loads = LoadTracker()
    assert loads.cost("kato-1", BEGIN) == 0.0
    loads.started("kato-1")
    assert loads.cost("kato-1", BEGIN) == UNMEASURED_LATENCY


@pytest.mark.parametrize("took", [0.001, 0.03, 2.0])
def test_first_answer(took: float) -> None:
    """The first answer is the average."""
    loads = LoadTracker()
    answered(loads, took)
    assert loads.mean_latency("kato-1", BEGIN) == took


def test_peak() -> None:
    """A slower answer counts at once; a quicker one moves the average with time."""
    loads = LoadTracker()
    answered(loads, 0.1)
    answered(loads, 0.5)
    assert loads.mean_latency("kato-1", BEGIN) == 0.5
    answered(loads, 0.1, BEGIN)
    assert loads.mean_latency("kato-1", BEGIN) == 0.5
    answered(loads, 0.1, BEGIN + DECAY)
    old = math.exp(-1)
    assert loads.mean_latency("kato-1", BEGIN + DECAY) == pytest.approx(0.5 * old + 0.1 * (1 - old))


def test_sinks() -> None:
    """While nobody asks it, it becomes cheaper, and so is asked again one day."""
    loads = LoadTracker()
    answered(loads, 5.0)
    costs = [loads.cost("kato-1", BEGIN + later) for later in (0, 5, 10, 60)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.02


def test_in_hand() -> None:
    """Each request in hand makes it dearer by one answer's time; its end makes it cheaper."""
    loads = LoadTracker()
    answered(loads, 0.1)
    tokens = [loads.started("kato-1") for _ in range(3)]
    assert loads.outstanding("kato-1") == 3
    assert loads.cost("kato-1", BEGIN) == pytest.approx(0.4)
    loads.abandoned("kato-1", tokens.pop())
    loads.finished("kato-1", tokens.pop(), BEGIN, 0.1, succeeded=True)
    assert loads.outstanding("kato-1") == 1


@pytest.mark.parametrize(("took", "counted"), [(0.001, MIN_FAILURE_LATENCY), (3.0, 3.0)])
def test_failures_are_dear(took: float, counted: float) -> None:
    """A quick failure does not look like a quick answer."""
    loads = LoadTracker()
    answered(loads, took, succeeded=False)
    assert loads.mean_latency("kato-1", BEGIN) == counted


def test_given_up() -> None:
    """A request whose caller gave up leaves the average as it was."""
    loads = LoadTracker()
    answered(loads, 0.2)
    loads.abandoned("kato-1", loads.started("kato-1"))
    assert loads.mean_latency("kato-1", BEGIN) == 0.2


def test_left() -> None:
    """Who left is forgotten, also for a request that ends later."""
    loads = LoadTracker()
    token = loads.started("kato-1")
    loads.remove(["kato-1"])
    loads.finished("kato-1", token, BEGIN, 9.0, succeeded=True)
    loads.abandoned("kato-1", token)
    assert loads.cost("kato-1", BEGIN) == 0.0
