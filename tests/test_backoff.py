"""Pauses between attempts: how they grow, and that chance is an argument."""

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
@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_growth(backoff: Backoff, ceilings: list[float], chance: float) -> None:
    """The ceiling doubles up to a bound; chance picks uniformly below it."""
    pauses = list(islice(full_jitter(backoff, lambda: chance), len(ceilings)))
    assert pauses == pytest.approx([ceiling * chance for ceiling in ceilings])


def test_chance_each_time() -> None:
    """Each pause draws anew."""
    draws = iter([1.0, 0.5, 0.0])
    pauses = list(islice(full_jitter(CONSUL_WAIT, lambda: next(draws)), 3))
    assert pauses == pytest.approx([0.1, 0.1, 0.0])


def test_global_chance_is_left_alone() -> None:
    """Nothing is drawn from the random source that the whole process shares."""
    before = random.getstate()
    list(islice(full_jitter(CONSUL_WAIT, lambda: 0.5), 5))
    assert random.getstate() == before


def test_long_outage() -> None:
    """Thousands of failures later the pause is still the bound, not an overflow."""
    assert next(islice(full_jitter(CONSUL_WAIT, lambda: 1.0), 5_000, None)) == 0.4


def test_each_starts_over() -> None:
    """A new row of pauses begins with the shortest."""
    list(islice(full_jitter(CONSUL_WAIT, lambda: 1.0), 5))
    assert next(full_jitter(CONSUL_WAIT, lambda: 1.0)) == pytest.approx(0.1)
