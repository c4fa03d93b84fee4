"""When clients have gone: nobody's request under way, and none since, for a moment."""

import itertools

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.maintenance import IDLE_FOR, enter, wait_until_idle
from kato_consul.errors import ConsulRejected
from kato_consul.testing.clock import ManualClock
from tests.building import refused, reply
from tests.flows import Player

ONE = ServiceDefinition(name="kato", id="kato-1", port=8001)


def quiet(others: list[tuple[int, int]], within: float) -> tuple[bool, list[str], float]:
    """Play a drain: of others, how many requests are under way, and how many came in, at each look
    (the last one goes on). Whether it became quiet, what was said, and how long it took."""
    clock, served, looks, said = ManualClock(100.0), 0, 0, []

    def answer(send: Send) -> Outcome:
        nonlocal served, looks
        if send.target == "/health":
            return reply(200, {"last_collection": 1.5})
        under_way, came = others[min(looks, len(others) - 1)]
        served += 1
        if send.target == "/concurrency":
            served += came
            return reply(200, {"current": {"concurrent_requests": 1 + under_way}})
        looks += 1
        return reply(200, {"summary": {"performance": {"total_requests": float(served)}}})

    def on_event(event: RegistrarEvent, who: str, /, **fields: object) -> None:
        said.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], within, clock=clock, on_event=on_event)
    done = Player(answer, clock=clock).play(flow)
    return done, said, clock.now - 100.0


@pytest.mark.parametrize(
    ("others", "done"),
    [
        ([(0, 0)], True),
        ([(3, 5), (1, 2), (0, 0)], True),
        ([(0, 0), (0, 0), (0, 1), (0, 0)], True),
        ([(1, 0)], False),  # one long request
        ([(0, 1)], False),  # many short ones
    ],
)
def test_quiet(others: list[tuple[int, int]], done: bool) -> None:
    """It is over when others ask nothing for a moment, and never before."""
    found, said, took = quiet(others, 10.0)
    assert found is done
    assert said[0].startswith("drained" if done else "still busy")
    assert took >= IDLE_FOR


def test_does_not_tell() -> None:
    """An instance that does not tell is given the whole time."""
    clock = ManualClock(100.0)
    said: list[str] = []

    def on_event(event: RegistrarEvent, who: str, /, **fields: object) -> None:
        said.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], 3.0, clock=clock, on_event=on_event)
    assert Player(lambda send: refused(), clock=clock).play(flow) is False
    assert clock.now == pytest.approx(103.0)
    assert "does not tell how busy it is" in said[0]


def test_several_workers() -> None:
    """Of an instance with several processes, one look sees one of them: it is given the time."""
    clock, said, started = ManualClock(100.0), [], itertools.cycle([1.5, 1.5, 2.5])

    def on_event(event: RegistrarEvent, who: str, /, **fields: object) -> None:
        said.append(describe_event(event, fields))

    def answer(send: Send) -> Outcome:
        assert send.target == "/health"
        return reply(200, {"last_collection": next(started)})

    assert (
        Player(answer, clock=clock).play(
            wait_until_idle([ONE], 3.0, clock=clock, on_event=on_event)
        )
        is False
    )
    assert clock.now == pytest.approx(103.0)
    assert "several worker processes" in said[0]


def test_an_unknown_one() -> None:
    """An instance that the agent does not have cannot be drained there."""
    missing = reply(404, b'No service registered with ID "kato-1"')
    flow = enter(ConsulApi("http://consul.test:8500"), "kato-1", "why", lambda *_, **__: None)
    with pytest.raises(ConsulRejected, match="Ask the agent that it was registered with"):
        Player(lambda send: missing).play(flow)
