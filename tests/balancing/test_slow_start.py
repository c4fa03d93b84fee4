"""Slow start: who is new, and how much of its weight it has."""

import pytest

from kato_consul._balancing.slow_start import MIN_WEIGHT_SHARE, WINDOW, SlowStart
from kato_consul.models import Health
from tests.building import instance, snapshot

OLD, NEW = instance("kato-old"), instance("kato-new")
BEGIN = 1_000.0


def seen(*snapshots: object) -> SlowStart:
    """What was seen of these, a second apart."""
    newcomers = SlowStart()
    for number, one in enumerate(snapshots):
        newcomers.update(one, BEGIN + number)  # type: ignore[arg-type]
    return newcomers


def test_all_old() -> None:
    """Those that were there from the start have all of their weight."""
    assert seen(snapshot(OLD, NEW)).share(NEW, BEGIN) == 1.0


@pytest.mark.parametrize(
    ("after", "share"), [(0, MIN_WEIGHT_SHARE), (WINDOW / 2, 0.55), (WINDOW, 1.0), (WINDOW + 9, 1.0)]
)
def test_grows(after: float, share: float) -> None:
    """A newcomer's weight grows in a straight line; the others keep theirs."""
    newcomers = seen(snapshot(OLD), snapshot(OLD, NEW))
    assert newcomers.share(NEW, BEGIN + 1 + after) == pytest.approx(share)
    assert newcomers.share(OLD, BEGIN + 1 + after) == 1.0


@pytest.mark.parametrize("health", [Health.CRITICAL, Health.MAINTENANCE])
def test_who_comes_back_is_new(health: Health) -> None:
    """One that was critical, or drained, starts slowly as well; one with a warning never left."""
    ill = instance("kato-new", health)
    assert seen(snapshot(OLD, ill), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == MIN_WEIGHT_SHARE
    warned = instance("kato-new", Health.WARNING)
    assert seen(snapshot(OLD, warned), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == 1.0


def test_after_nobody() -> None:
    """When there was nobody before, all are new, and so nobody is."""
    assert seen(snapshot(), snapshot(OLD, NEW)).share(NEW, BEGIN + 1) == 1.0


def test_left_in_between() -> None:
    """One that left and came again starts anew."""
    newcomers = seen(snapshot(OLD), snapshot(OLD, NEW), snapshot(OLD), snapshot(OLD, NEW))
    assert newcomers.share(NEW, BEGIN + 3) == MIN_WEIGHT_SHARE
