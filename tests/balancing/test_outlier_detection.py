"""Outlier detection: what ejects an instance, for how long, the probe, and panic."""

import pytest

from kato_consul._balancing.outlier_detection import (
    CONSECUTIVE_FAILURES,
    MAX_EJECTION,
    MIN_EJECTION,
    OutlierDetector,
)
from tests.building import instance

BEGIN = 1_000.0
JUST_BEFORE = 0.001


def ejected_seconds(
    detector: OutlierDetector, now: float, took: float, name: str = "kato-1"
) -> float:
    """Let an instance fail at ``now``. Return the seconds of its ejection, found by bisection."""
    detector.record_failure(name, now, took, eject_now=True)
    assert detector.is_ejected(name, now)
    low, high = 0.0, 1_000.0
    assert not detector.is_ejected(name, now + high)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if detector.is_ejected(name, now + middle) else (low, middle)
    return high


def fail_in_a_row(detector: OutlierDetector, count: int, took: float) -> list[float]:
    """Let an instance fail ``count`` times, each just after its ejection ended.

    Return the seconds of each ejection.
    """
    now, durations = BEGIN, []
    for _ in range(count):
        durations.append(ejected_seconds(detector, now, took))
        now += durations[-1] + JUST_BEFORE
    return durations


def test_instance_without_failure_is_not_ejected() -> None:
    """An instance that never failed is not ejected, at any time."""
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
def test_first_ejection_lasts_as_long_as_the_failure(took: float, seconds: float) -> None:
    """The first ejection lasts as long as the failure took, within the bounds."""
    assert ejected_seconds(OutlierDetector(), BEGIN, took) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("took", "seconds"),
    [
        (0.001, [1, 2, 4, 8, 16, 30, 30, 30]),
        (3.0, [3, 6, 12, 24, 30, 30]),
        (10.0, [10, 20, 30, 30]),
        (60.0, [30, 30]),
    ],
)
def test_each_ejection_in_a_row_doubles(took: float, seconds: list[float]) -> None:
    """Each ejection in a row lasts twice as long, up to the maximum."""
    assert fail_in_a_row(OutlierDetector(), len(seconds), took) == pytest.approx(seconds, abs=1e-4)


def test_thousands_of_failures_do_not_overflow() -> None:
    """After thousands of failures the ejection lasts the maximum."""
    detector, now = OutlierDetector(), BEGIN
    for _ in range(5_000):
        detector.record_failure("kato-1", now, 0.001, eject_now=True)
        now += MAX_EJECTION
    assert ejected_seconds(detector, now, 0.001) == pytest.approx(MAX_EJECTION)


def test_ejection_ends_on_time() -> None:
    """At the end of its ejection the instance is not ejected."""
    detector = OutlierDetector()
    detector.record_failure("kato-1", BEGIN, 4.0, eject_now=True)
    assert detector.is_ejected("kato-1", BEGIN + 3.999)
    assert not detector.is_ejected("kato-1", BEGIN + 4.0)


def test_failures_during_an_ejection_count_once() -> None:
    """Requests in flight together that fail together count as one failure."""
    detector = OutlierDetector()
    for elapsed in (0.0, 0.1, 0.999):
        detector.record_failure("kato-1", BEGIN + elapsed, 0.001, eject_now=True)
    assert not detector.is_ejected("kato-1", BEGIN + 1.0)
    assert ejected_seconds(detector, BEGIN + 1.0, 0.001) == pytest.approx(2.0)


def test_success_ends_the_ejection() -> None:
    """A success ends the ejection at once, and the next failure counts as the first."""
    detector = OutlierDetector()
    fail_in_a_row(detector, 4, 0.001)
    detector.record_success("kato-1")
    assert not detector.is_ejected("kato-1", BEGIN)
    assert ejected_seconds(detector, BEGIN + 100.0, 0.001) == pytest.approx(1.0)


def test_time_alone_does_not_clear_the_record() -> None:
    """Without a success in between, the next ejection is longer, however late."""
    detector = OutlierDetector()
    detector.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    assert ejected_seconds(detector, BEGIN + 3_600.0, 0.001) == pytest.approx(2.0)


def test_success_without_failure_leaves_no_record() -> None:
    """After it the next failure counts as the first."""
    detector = OutlierDetector()
    detector.record_success("kato-1")
    assert ejected_seconds(detector, BEGIN, 0.001) == pytest.approx(MIN_EJECTION)


def test_instances_are_independent() -> None:
    """Outcomes of one instance do not affect another, also with the same id on another node."""
    detector = OutlierDetector()
    detector.record_failure("kato-1@n1", BEGIN, 4.0, eject_now=True)
    assert not detector.is_ejected("kato-1@n2", BEGIN)
    assert not detector.is_ejected("kato-1", BEGIN)
    detector.record_failure("kato-1@n2", BEGIN, 4.0, eject_now=True)
    detector.record_success("kato-1@n1")
    assert detector.is_ejected("kato-1@n2", BEGIN)
    assert not detector.is_ejected("kato-1@n1", BEGIN)


# --- failures that do not eject at once -----------------------------------------------------


def fail(detector: OutlierDetector, times: int, name: str = "kato-1") -> None:
    """Record failures in a row that do not eject at once."""
    for _ in range(times):
        detector.record_failure(name, BEGIN, 0.001, eject_now=False)


@pytest.mark.parametrize("times", range(1, CONSECUTIVE_FAILURES + 2))
def test_consecutive_failures_eject(times: int) -> None:
    """Only `CONSECUTIVE_FAILURES` in a row eject."""
    detector = OutlierDetector()
    fail(detector, times)
    assert detector.is_ejected("kato-1", BEGIN) is (times >= CONSECUTIVE_FAILURES)


def test_success_restarts_the_count() -> None:
    """With a success in between, the failures are not in a row."""
    detector = OutlierDetector()
    fail(detector, CONSECUTIVE_FAILURES - 1)
    detector.record_success("kato-1")
    fail(detector, CONSECUTIVE_FAILURES - 1)
    assert not detector.is_ejected("kato-1", BEGIN)


def test_any_failure_when_half_open_ejects() -> None:
    """A half-open instance is ejected again by any failure."""
    detector = OutlierDetector()
    fail(detector, CONSECUTIVE_FAILURES)
    detector.record_failure("kato-1", BEGIN + MIN_EJECTION, 0.001, eject_now=False)
    assert detector.ejected_for("kato-1", BEGIN + MIN_EJECTION) == pytest.approx(2 * MIN_EJECTION)


# --- half-open ------------------------------------------------------------------------------


def test_half_open_admits_one_probe() -> None:
    """After the ejection one request may probe the instance; others avoid it meanwhile."""
    detector = OutlierDetector()
    detector.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    now = BEGIN + MIN_EJECTION
    assert not detector.is_ejected("kato-1", now)
    detector.attempt_started("kato-1", now, 10.0)
    assert detector.is_ejected("kato-1", now + 9.9)
    assert not detector.is_ejected("kato-1", now + 10.0)  # the probe never ended


@pytest.mark.parametrize("success", [True, False])
def test_probe_decides(success: bool) -> None:
    """A probe that succeeds clears the record; one that fails ejects for longer."""
    detector = OutlierDetector()
    detector.record_failure("kato-1", BEGIN, 0.001, eject_now=True)
    now = BEGIN + MIN_EJECTION
    detector.attempt_started("kato-1", now, 10.0)
    if success:
        detector.record_success("kato-1")
    else:
        detector.record_failure("kato-1", now, 0.001, eject_now=True)
    assert detector.is_ejected("kato-1", now) is not success
    assert detector.ejected_for("kato-1", now) == pytest.approx(
        0.0 if success else 2 * MIN_EJECTION
    )


def test_attempts_on_a_healthy_instance_are_not_probes() -> None:
    """Requests to an instance that is not half-open do not keep others away."""
    detector = OutlierDetector()
    detector.attempt_started("kato-1", BEGIN, 10.0)
    fail(detector, 1)
    detector.attempt_started("kato-1", BEGIN, 10.0)
    assert not detector.is_ejected("kato-1", BEGIN)


# --- panic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "failing", "ejected"),
    [(1, 1, 0), (2, 1, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0), (4, 2, 2), (4, 3, 0), (11, 5, 5)],
)
def test_panic_when_more_than_half_fail(pool: int, failing: int, ejected: int) -> None:
    """When more than half of the pool fails, no ejection counts for the pool."""
    detector = OutlierDetector()
    instances = [instance(f"kato-{number}") for number in range(pool)]
    for failed in instances[:failing]:
        detector.record_failure(failed.uid, BEGIN, 0.001, eject_now=True)
    assert len(detector.ejected(instances, BEGIN)) == ejected
    # Each single instance stays ejected.
    assert all(detector.is_ejected(failed.uid, BEGIN) for failed in instances[:failing])


def test_removed_instance_has_no_record() -> None:
    """An instance that returns under its old id starts without a record."""
    detector = OutlierDetector()
    detector.record_failure("kato-1", BEGIN, 10.0, eject_now=True)
    detector.remove(["kato-1", "kato-2"])
    assert not detector.is_ejected("kato-1", BEGIN)
