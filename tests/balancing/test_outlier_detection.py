"""Ejection: who is out, for how long, who may try it, and when nobody is."""

import pytest

from kato_consul._balancing.outlier_detection import CONSECUTIVE_FAILURES, MAX_EJECTION, MIN_EJECTION, OutlierDetector
from tests.building import instance

BEGIN = 1_000.0
JUST_BEFORE = 0.001


def out_for(ejection: OutlierDetector, now: float, took: float, name: str = "kato-1") -> float:
    """Let one fail at ``now``; the seconds it is out, found by asking."""
    ejection.record_failure(name, now, took, eject_now=True)
    assert ejection.is_ejected(name, now)
    low, high = 0.0, 1_000.0
    assert not ejection.is_ejected(name, now + high)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if ejection.is_ejected(name, now + middle) else (low, middle)
    return high


def in_a_row(ejection: OutlierDetector, count: int, took: float) -> list[float]:
    """Let one fail that often, each time when it is just back; the seconds it was out each time."""
    now, found = BEGIN, []
    for _ in range(count):
        found.append(out_for(ejection, now, took))
        now += found[-1] + JUST_BEFORE
    return found


def test_nobody_failed() -> None:
    """Who never failed is not out, at any time."""
    assert not OutlierDetector().is_ejected("kato-1", 0.0)
    assert not OutlierDetector().is_ejected("kato-1", BEGIN)


@pytest.mark.parametrize(
    ("took", "seconds"),
    [
        (0.0, MIN_EJECTION),
        (0.001, MIN_EJECTION),
        (1.0, 1.0),
        (2.5, 2.5),
        (10.0, 10.0),
        (30.0, MAX_EJECTION),
        (90.0, MAX_EJECTION),
    ],
)
def test_first_failure(took: float, seconds: float) -> None:
    """After one failure it is out for as long as that took, within the bounds."""
    assert out_for(OutlierDetector(), BEGIN, took) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("took", "seconds"),
    [
        (0.001, [1, 2, 4, 8, 16, 30, 30, 30]),
        (3.0, [3, 6, 12, 24, 30, 30]),
        (10.0, [10, 20, 30, 30]),
        (60.0, [30, 30]),
    ],
)
def test_in_a_row(took: float, seconds: list[float]) -> None:
    """Each failure in a row doubles the time, up to the bound."""
    assert in_a_row(OutlierDetector(), len(seconds), took) == pytest.approx(seconds, abs=1e-4)


def test_long_outage() -> None:
    """Thousands of failures later it is the bound, not an overflow."""
    ejection, now = OutlierDetector(), BEGIN
    for _ in range(5_000):
        ejection.record_failure("kato-1", now, 0.001, eject_now=True)
        now += MAX_EJECTION
    assert out_for(ejection, now, 0.001) == pytest.approx(MAX_EJECTION)


def test_is_out_until() -> None:
    """The end is exact: at that moment it is back."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1", BEGIN, 4.0, eject_now=True)
    assert ejection.is_ejected("kato-1", BEGIN + 3.999)
    assert not ejection.is_ejected("kato-1", BEGIN + 4.0)


def test_failures_together() -> None:
    """Calls that were under way together and failed together count as one failure."""
    ejection = OutlierDetector()
    for later in (0.0, 0.1, 0.999):
        ejection.record_failure("kato-1", BEGIN + later, 0.001, eject_now=True)
    assert not ejection.is_ejected("kato-1", BEGIN + 1.0)
    assert out_for(ejection, BEGIN + 1.0, 0.001) == pytest.approx(2.0)


def test_success_forgives() -> None:
    """A success ends it at once, and the next failure counts as the first."""
    ejection = OutlierDetector()
    in_a_row(ejection, 4, 0.001)
    ejection.record_success("kato-1")
    assert not ejection.is_ejected("kato-1", BEGIN)
    assert out_for(ejection, BEGIN + 100.0, 0.001) == pytest.approx(1.0)


def test_time_does_not_forgive() -> None:
    """Time alone does not: who was never seen well again is out for longer."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    assert out_for(ejection, BEGIN + 3_600.0, 0.001) == pytest.approx(2.0)


def test_success_of_one_that_never_failed() -> None:
    """It is nothing to remember: the next failure is the first."""
    ejection = OutlierDetector()
    ejection.record_success("kato-1")
    assert out_for(ejection, BEGIN, 0.001) == pytest.approx(MIN_EJECTION)


def test_each_for_itself() -> None:
    """Failures and successes of one are nothing to another, also under the same id elsewhere."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1@n1", BEGIN, 4.0, eject_now=True)
    assert not ejection.is_ejected("kato-1@n2", BEGIN)
    assert not ejection.is_ejected("kato-1", BEGIN)
    ejection.record_failure("kato-1@n2", BEGIN, 4.0, eject_now=True)
    ejection.record_success("kato-1@n1")
    assert ejection.is_ejected("kato-1@n2", BEGIN)
    assert not ejection.is_ejected("kato-1@n1", BEGIN)


# --- failures that prove nothing alone ------------------------------------------------------


def ail(ejection: OutlierDetector, times: int, name: str = "kato-1") -> None:
    """So many failures in a row of those that prove nothing alone."""
    for _ in range(times):
        ejection.record_failure(name, BEGIN, 0.001, eject_now=False)


@pytest.mark.parametrize("times", range(1, CONSECUTIVE_FAILURES + 2))
def test_ailing(times: int) -> None:
    """Only so many in a row put it out."""
    ejection = OutlierDetector()
    ail(ejection, times)
    assert ejection.is_ejected("kato-1", BEGIN) is (times >= CONSECUTIVE_FAILURES)


def test_ailing_is_forgiven() -> None:
    """One success in between, and they are not in a row."""
    ejection = OutlierDetector()
    ail(ejection, CONSECUTIVE_FAILURES - 1)
    ejection.record_success("kato-1")
    ail(ejection, CONSECUTIVE_FAILURES - 1)
    assert not ejection.is_ejected("kato-1", BEGIN)


def test_ailing_when_half_open() -> None:
    """One that was out and fails again is out again, whatever the failure."""
    ejection = OutlierDetector()
    ail(ejection, CONSECUTIVE_FAILURES)
    ejection.record_failure("kato-1", BEGIN + MIN_EJECTION, 0.001, eject_now=False)
    assert ejection.ejected_for("kato-1", BEGIN + MIN_EJECTION) == pytest.approx(2 * MIN_EJECTION)


# --- half-open ------------------------------------------------------------------------------


def test_half_open_lets_one_in() -> None:
    """When its time is over it is open; while one tries it, it is out for the others."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    now = BEGIN + MIN_EJECTION
    assert not ejection.is_ejected("kato-1", now)
    ejection.attempt_started("kato-1", now, 10.0)
    assert ejection.is_ejected("kato-1", now + 9.9)
    assert not ejection.is_ejected("kato-1", now + 10.0)  # whoever tried it never came back


@pytest.mark.parametrize("well", [True, False])
def test_half_open_ends(well: bool) -> None:
    """What comes of it decides for all: the slate is clean, or it is out for longer."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    now = BEGIN + MIN_EJECTION
    ejection.attempt_started("kato-1", now, 10.0)
    if well:
        ejection.record_success("kato-1")
    else:
        ejection.record_failure("kato-1", now, 0.001, eject_now=True)
    assert ejection.is_ejected("kato-1", now) is not well
    assert ejection.ejected_for("kato-1", now) == pytest.approx(0.0 if well else 2 * MIN_EJECTION)


def test_trying_one_that_is_well() -> None:
    """Requests to an instance that nothing is known against keep nobody else away."""
    ejection = OutlierDetector()
    ejection.attempt_started("kato-1", BEGIN, 10.0)
    ail(ejection, 1)
    ejection.attempt_started("kato-1", BEGIN, 10.0)
    assert not ejection.is_ejected("kato-1", BEGIN)


# --- panic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "failing", "out"),
    [(1, 1, 0), (2, 1, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0), (4, 2, 2), (4, 3, 0), (11, 5, 5)],
)
def test_never_more_than_half(pool: int, failing: int, out: int) -> None:
    """When more than half would be out, nobody is."""
    ejection = OutlierDetector()
    instances = [instance(f"kato-{number}") for number in range(pool)]
    for one in instances[:failing]:
        ejection.record_failure(one.uid, BEGIN, 0.001, eject_now=True)
    assert len(ejection.ejected(instances, BEGIN)) == out
    assert all(
        ejection.is_ejected(one.uid, BEGIN) for one in instances[:failing]
    )  # each for itself


def test_those_that_left_are_forgotten() -> None:
    """An instance that comes back under its old id begins anew."""
    ejection = OutlierDetector()
    ejection.record_failure("kato-1", BEGIN, 10.0, eject_now=True)
    ejection.remove(["kato-1", "kato-2"])
    assert not ejection.is_ejected("kato-1", BEGIN)
