"""Draining: clients have left when no request is in progress and none arrives for a moment."""

import itertools

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.maintenance import IDLE_FOR, enter, wait_until_idle
from kato_consul.errors import ConsulRejected
from kato_consul.testing.clock import ManualClock
from tests.building import hung, refused, reply
from tests.flows import Player

ONE = ServiceDefinition(name="kato", id="kato-1", port=8001)


def drain(clients: list[tuple[int, int]], within: float) -> tuple[bool, list[str], float]:
    """Play a drain; return whether the instance became idle, the events, and the seconds it took.

    ``clients`` has for each poll how many requests of clients are in progress, and how many are
    new. Its last item is repeated.
    """
    clock, served, polls, events = ManualClock(100.0), 0, 0, []

    def answer(send: Send) -> Outcome:
        nonlocal served, polls
        if send.target == "/health":
            return reply(200, {"last_collection": 1.5})
        in_progress, new = clients[min(polls, len(clients) - 1)]
        served += 1
        if send.target == "/concurrency":
            served += new
            return reply(200, {"current": {"concurrent_requests": 1 + in_progress}})
        polls += 1
        return reply(200, {"summary": {"performance": {"total_requests": float(served)}}})

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], within, clock=clock, on_event=on_event)
    idle = Player(answer, clock=clock).play(flow)
    return idle, events, clock.now - 100.0


@pytest.mark.parametrize(
    ("clients", "idle"),
    [
        ([(0, 0)], True),
        ([(3, 5), (1, 2), (0, 0)], True),
        ([(0, 0), (0, 0), (0, 1), (0, 0)], True),
        ([(1, 0)], False),  # one long request
        ([(0, 1)], False),  # many short ones
    ],
)
def test_drained_when_idle_for_a_moment(clients: list[tuple[int, int]], idle: bool) -> None:
    """The drain ends when clients have sent no request for a moment, and never before."""
    became_idle, events, took = drain(clients, 10.0)
    assert became_idle is idle
    assert events[0].startswith("drained" if idle else "still busy")
    assert took >= IDLE_FOR


def test_instance_that_stops_reporting_is_not_idle() -> None:
    """An instance that was idle once, and does not report its requests any more, is not drained."""
    clock, reported, events = ManualClock(100.0), 0, []

    def answer(send: Send) -> Outcome:
        nonlocal reported
        if send.target == "/health":
            return reply(200, {"last_collection": 1.5})
        reported += 1
        if reported > 6:
            return refused()
        if send.target == "/concurrency":
            return reply(200, {"current": {"concurrent_requests": 1}})
        return reply(200, {"summary": {"performance": {"total_requests": 0.0}}})

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(event)

    flow = wait_until_idle([ONE], 5.0, clock=clock, on_event=on_event)
    assert Player(answer, clock=clock).play(flow) is False
    assert events == [RegistrarEvent.STILL_BUSY]


def test_instance_without_numbers_is_given_the_whole_time() -> None:
    """An instance that does not report its requests is given the whole drain time."""
    clock = ManualClock(100.0)
    events: list[str] = []

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], 3.0, clock=clock, on_event=on_event)
    assert Player(lambda send: refused(), clock=clock).play(flow) is False
    assert clock.now == pytest.approx(103.0)
    assert "did not report its number of requests" in events[0]


def test_instance_with_several_workers_is_given_the_whole_time() -> None:
    """With several worker processes, a poll reads the numbers of only one of them."""
    clock, events, started = ManualClock(100.0), [], itertools.cycle([1.5, 1.5, 2.5])

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

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
    assert "several worker processes" in events[0]


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("slow", ["/health", "/concurrency", "/stats?minutes=0"])
@pytest.mark.parametrize("within", [0.5, 3.0, 10.0])
def test_slow_instance_does_not_prolong_the_drain(within: float, slow: str, answers: bool) -> None:
    """The drain takes no longer than its time, and another instance still becomes idle in it."""
    clock, events = ManualClock(100.0), []
    definitions = [ONE, ServiceDefinition(name="kato", id="kato-2", port=8002)]
    idle_body = {
        "/health": {"last_collection": 1.5},
        "/concurrency": {"current": {"concurrent_requests": 1}},
        "/stats?minutes=0": {"summary": {"performance": {"total_requests": 0.0}}},
    }

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append((subject, event))

    def answer(send: Send) -> Outcome:
        if send.target == slow and send.origin == ONE.origin:
            takes = 1.5 if answers else send.timeout
            clock.advance(min(takes, send.timeout))
            if takes >= send.timeout:
                return hung()
        return reply(200, idle_body[send.target])

    flow = wait_until_idle(definitions, within, clock=clock, on_event=on_event)
    became_idle = Player(answer, clock=clock).play(flow)
    assert clock.now <= 100.0 + within + 1e-6
    assert became_idle is (len(events) == 2 and (ONE.id, RegistrarEvent.STILL_BUSY) not in events)
    if within == 10.0:
        assert ("kato-2", RegistrarEvent.DRAINED) in events


def test_unknown_instance_cannot_be_drained() -> None:
    """Draining an instance that the agent does not have is an error."""
    missing = reply(404, b'No service registered with ID "kato-1"')
    flow = enter(ConsulApi("http://consul.test:8500"), "kato-1", "why", lambda *_, **__: None)
    with pytest.raises(ConsulRejected, match="Use the agent that it was registered with"):
        Player(lambda send: missing).play(flow)
