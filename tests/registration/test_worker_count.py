"""Finding worker processes: which were seen, and what is known when time is up."""

import itertools
from collections.abc import Iterable

import pytest

from kato_consul._flow import Outcome, Send
from kato_consul._registration.worker_count import (
    CONNECTIONS_PER_WORKER,
    MAX_CONNECTIONS,
    find_workers,
)
from kato_consul.testing.clock import ManualClock
from tests.building import hung, reply
from tests.flows import Player


@pytest.mark.parametrize(
    ("start_times", "each_takes", "thorough", "found", "took", "requests"),
    [
        ([1.5], 0.0, False, {1.5}, 0.0, CONNECTIONS_PER_WORKER),
        ([1.5], 0.01, True, {1.5}, 0.96, MAX_CONNECTIONS),
        ([1.5, 2.5], 0.0, False, {1.5, 2.5}, 0.0, 2 * CONNECTIONS_PER_WORKER),
        ([1.5, 2.5], 0.0, True, {1.5, 2.5}, 0.0, 2 * CONNECTIONS_PER_WORKER),
        ([1, 2, 3, 4], 0.0, False, {1, 2, 3, 4}, 0.0, 4 * CONNECTIONS_PER_WORKER),
        (range(1, 9), 0.0, False, set(range(1, 9)), 0.0, MAX_CONNECTIONS),
        # Time is up: one process seen is no count unless enough connections were opened.
        ([1.5], 0.3, True, {1.5}, 5.0, 17),
        ([1.5], 1.5, False, None, 5.0, 4),
        ([1.5, 2.5], 1.5, False, {1.5, 2.5}, 5.0, 4),
        ([1.5], 9.0, False, None, 2.0, 1),  # no answer at all
    ],
)
def test_search(
    start_times: Iterable[float],
    each_takes: float,
    thorough: bool,
    found: set[float] | None,
    took: float,
    requests: int,
) -> None:
    """The search ends when enough connections were opened, and when time is up."""
    clock, started = ManualClock(100.0), itertools.cycle(start_times)

    def answer(send: Send) -> Outcome:
        clock.advance(min(each_takes, send.timeout))
        if each_takes > send.timeout:
            return hung()
        return reply(200, {"last_collection": next(started)})

    player = Player(answer, clock=clock)
    flow = find_workers("http://kato.test:8000", 2.0, 5.0, clock=clock, thorough=thorough)
    assert player.play(flow) == found
    assert clock.now == pytest.approx(100.0 + took)
    assert len(player.sent) == requests


def test_answer_without_a_start_time_ends_the_search() -> None:
    """What does not report the start of its process cannot be told from others."""
    clock = ManualClock(100.0)
    player = Player(lambda send: reply(200, {"status": "healthy"}), clock=clock)
    assert player.play(find_workers("http://kato.test:8000", 2.0, 5.0, clock=clock)) is None
    assert len(player.sent) == 1
