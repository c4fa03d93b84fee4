"""Backoff: how the pauses grow, and that the random source is an argument."""

import random
from itertools import islice

import pytest

from kato_consul._backoff import CONSUL_WAIT, INSTANCE_WAIT, MISTAKE_WAIT, Backoff, full_jitter


@pytest.mark.parametrize(
    ("backoff", "ceilings"),
    [
        (CONSUL_WAIT, [0.1, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4]),
        (MISTAKE_WAIT, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]),
        (INSTANCE_WAIT, [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
    ],
)
@pytest.mark.parametrize("draw", [0.0, 0.25, 1.0])
def test_pause_is_a_draw_below_a_doubling_ceiling(
    backoff: Backoff, ceilings: list[float], draw: float
) -> None:
    """The ceiling doubles up to the maximum; the pause is uniform below it."""
    pauses = list(islice(full_jitter(backoff, lambda: draw), len(ceilings)))
    assert pauses == pytest.approx([ceiling * draw for ceiling in ceilings])


def test_each_pause_is_drawn_separately() -> None:
    """Each pause has a random draw of its own."""
    draws = iter([1.0, 0.5, 0.0])
    pauses = list(islice(full_jitter(CONSUL_WAIT, lambda: next(draws)), 3))
    assert pauses == pytest.approx([0.1, 0.1, 0.0])


def test_global_random_state_does_not_change() -> None:
    """Nothing is drawn from the random source that the process shares."""
    before = random.getstate()
    list(islice(full_jitter(CONSUL_WAIT, lambda: 0.5), 5))
    assert random.getstate() == before


def test_pause_stays_at_the_maximum_in_a_long_outage() -> None:
    """After thousands of failures the pause is still the maximum, not an overflow."""
    assert next(islice(full_jitter(CONSUL_WAIT, lambda: 1.0), 5_000, None)) == 0.4


def test_new_iterator_starts_with_the_shortest_pause() -> None:
    """A new iterator starts with the shortest pause."""
    list(islice(full_jitter(CONSUL_WAIT, lambda: 1.0), 5))
    assert next(full_jitter(CONSUL_WAIT, lambda: 1.0)) == pytest.approx(0.1)
