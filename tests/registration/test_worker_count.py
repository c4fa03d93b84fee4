"""Counting worker processes: how many were seen, and what is known when time is up."""

import itertools

import pytest

from kato_consul._flow import Outcome, Send
from kato_consul._registration.worker_count import (
    THOROUGH_CONNECTIONS,
    USUAL_CONNECTIONS,
    count_workers,
)
from kato_consul.testing.clock import ManualClock
from tests.building import hung, reply
from tests.flows import Player


@pytest.mark.parametrize(
    ("start_times", "each_takes", "most", "counted", "took", "requests"),
    [
        ([1.5], 0.0, USUAL_CONNECTIONS, 1, 0.0, USUAL_CONNECTIONS),
        ([1.5], 0.01, THOROUGH_CONNECTIONS, 1, 0.96, THOROUGH_CONNECTIONS),
        ([1.5, 2.5], 0.0, THOROUGH_CONNECTIONS, 2, 0.0, USUAL_CONNECTIONS),
        # Time is up: one process seen is no count unless enough connections were opened.
        ([1.5], 0.3, THOROUGH_CONNECTIONS, 1, 5.0, 17),
        ([1.5], 1.5, USUAL_CONNECTIONS, None, 5.0, 4),
        ([1.5, 2.5], 1.5, USUAL_CONNECTIONS, 2, 5.0, 4),
        ([1.5], 9.0, USUAL_CONNECTIONS, None, 2.0, 1),  # no answer at all
    ],
)
def test_count(
    start_times: list[float],
    each_takes: float,
    most: int,
    counted: int | None,
    took: float,
    requests: int,
) -> None:
    """The count ends when enough connections were opened, and when time is up."""
    clock, started = ManualClock(100.0), itertools.cycle(start_times)

    def answer(send: Send) -> Outcome:
        clock.advance(min(each_takes, send.timeout))
        if each_takes > send.timeout:
            return hung()
        return reply(200, {"last_collection": next(started)})

    player = Player(answer, clock=clock)
    flow = count_workers("http://kato.test:8000", 2.0, 5.0, clock=clock, max_connections=most)
    assert player.play(flow) == counted
    assert clock.now == pytest.approx(100.0 + took)
    assert len(player.sent) == requests


def test_answer_without_a_start_time_ends_the_count() -> None:
    """What does not report the start of its process cannot be counted."""
    clock = ManualClock(100.0)
    player = Player(lambda send: reply(200, {"status": "healthy"}), clock=clock)
    assert player.play(count_workers("http://kato.test:8000", 2.0, 5.0, clock=clock)) is None
    assert len(player.sent) == 1
