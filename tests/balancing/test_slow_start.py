"""Slow start: which instances are new, and their share of the weight."""

import pytest

from kato_consul._balancing.slow_start import MIN_WEIGHT_SHARE, WINDOW, SlowStart
from kato_consul.models import Health, Snapshot
from tests.building import instance, snapshot

OLD, NEW = instance("kato-old"), instance("kato-new")
BEGIN = 1_000.0


def after(*snapshots: Snapshot) -> SlowStart:
    """Return the state after these snapshots, a second apart."""
    slow_start = SlowStart()
    for number, one in enumerate(snapshots):
        slow_start.update(one, BEGIN + number)
    return slow_start


def test_first_instances_have_full_weight() -> None:
    """Instances of the first snapshot are not new."""
    assert after(snapshot(OLD, NEW)).share(NEW, BEGIN) == 1.0


@pytest.mark.parametrize(
    ("elapsed", "share"),
    [(0, MIN_WEIGHT_SHARE), (WINDOW / 2, 0.55), (WINDOW, 1.0), (WINDOW + 9, 1.0)],
)
def test_weight_grows_linearly(elapsed: float, share: float) -> None:
    """A new instance's weight grows linearly; the others keep theirs."""
    slow_start = after(snapshot(OLD), snapshot(OLD, NEW))
    assert slow_start.share(NEW, BEGIN + 1 + elapsed) == pytest.approx(share)
    assert slow_start.share(OLD, BEGIN + 1 + elapsed) == 1.0


@pytest.mark.parametrize("health", [Health.CRITICAL, Health.MAINTENANCE])
def test_recovered_instance_is_new(health: Health) -> None:
    """An instance that was critical or drained is new; one with a warning is not."""
    unusable = instance("kato-new", health)
    assert (
        after(snapshot(OLD, unusable), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == MIN_WEIGHT_SHARE
    )
    warned = instance("kato-new", Health.WARNING)
    assert after(snapshot(OLD, warned), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == 1.0


def test_no_slow_start_when_none_was_usable() -> None:
    """If no instance was usable before, all have full weight."""
    assert after(snapshot(), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == 1.0


def test_returning_instance_starts_anew() -> None:
    """An instance that left and returned is new again."""
    slow_start = after(snapshot(OLD), snapshot(OLD, NEW), snapshot(OLD), snapshot(OLD, NEW))
    assert slow_start.share(NEW, BEGIN + 3) == MIN_WEIGHT_SHARE
