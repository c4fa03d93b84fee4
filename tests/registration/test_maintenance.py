"""Draining: clients have left when no request is in progress and none ended a moment ago."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.maintenance import (
    IDLE_FOR,
    check_paths,
    enter,
    read_checks,
    wait_until_idle,
)
from kato_consul.errors import ConsulRejected
from kato_consul.testing.clock import ManualClock
from tests.building import hung, refused, reply
from tests.flows import Player

ONE = ServiceDefinition(name="kato", id="kato-1", port=8001)
TWO = ServiceDefinition(name="kato", id="kato-2", port=8002)

PROBED = {"kato-probe:kato-1": {"ServiceID": "kato-1", "Status": "passing", "Output": ""}}

OBSERVE = ("POST", "/sessions/s-1/observe")
PROBE = ("GET", "/sessions/kato-consul-probe/exists")


@dataclass
class Kato:
    """An instance with worker processes, which accept connections in turn.

    ``requests`` are those of others: the worker, the time at which each ended, method and path.
    ``busy`` are the workers with a request of a client in progress. ``skew`` is how far its clock
    is ahead.
    """

    clock: ManualClock
    workers: int = 1
    requests: list[tuple[int, float, tuple[str, str]]] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    skew: float = 0.0
    accepted: Any = None
    own: list[tuple[int, float, tuple[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(range(self.workers))

    def __call__(self, send: Send) -> Outcome:
        if self.accepted is None:
            self.accepted = next(self._turns)
        worker, path = self.accepted, send.target.partition("?")[0]
        if send.headers.get("connection") == "close":
            self.accepted = None
        listed = [one for one in [*self.requests, *self.own] if one[0] == worker]
        self.own.append((worker, self.clock.now, (send.method, path)))
        if path == "/health":
            return reply(200, {"last_collection": 1.5 + worker})
        if path == "/concurrency":
            return reply(200, {"current": {"concurrent_requests": 1 + (worker in self.busy)}})
        now = self.clock.now
        points = [
            {"timestamp": at + self.skew, "labels": {"method": method, "path": path}}
            for _, at, (method, path) in listed
            if now - 60 < at <= now
        ]
        body = {"timestamp": now + self.skew, "time_series": {"kato_requests_total": points}}
        return reply(200, body)


def drain(kato: Kato, within: float, **given: Any) -> tuple[bool, list[str], float]:
    """Play a drain; return whether the instance became idle, the events, and the seconds."""
    events: list[str] = []

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    before = kato.clock.now
    flow = wait_until_idle([ONE], within, clock=kato.clock, on_event=on_event, **given)
    idle = Player(kato, clock=kato.clock).play(flow, most=20_000)
    return idle, events, kato.clock.now - before


def every(period: float, what: tuple[str, str], workers: int = 1) -> list[Any]:
    """Return requests that end at this period for a minute, on the workers in turn."""
    return [(n % workers, 90.0 + n * period, what) for n in range(int(60 / period))]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("skew", [0.0, -3_600.0])
@pytest.mark.parametrize(
    ("requests", "idle"),
    [
        ([], True),
        ([(0, 99.9, OBSERVE)], True),
        (every(1.0, PROBE), True),  # the agent's check
        (every(0.1, ("GET", "/health")), True),
        (every(0.2, ("GET", "/metrics/kato_requests_total")), True),
        (every(0.02, OBSERVE), False),
        (every(0.9, OBSERVE), False),
        (every(0.9, ("GET", "/sessions/s-1/stm")), False),
        (every(0.9, ("GET", "/sessions/other/exists")), False),
        (every(0.9, ("POST", "/health")), False),
    ],
)
def test_idle_instance(workers: int, skew: float, requests: list[Any], idle: bool) -> None:
    """Requests of clients keep an instance busy; checks and probes do not, whatever its workers."""
    kato = Kato(ManualClock(100.0), workers, requests, skew=skew)
    became_idle, events, took = drain(kato, 5.0)
    assert became_idle is idle
    assert events[0].startswith("drained" if idle else "still busy")
    assert took == pytest.approx(IDLE_FOR if idle else 5.0, abs=0.3)


def test_client_of_several_workers_in_turn() -> None:
    """A client that uses one worker after the other keeps the instance busy, although none of them
    has two requests in a second."""
    kato = Kato(ManualClock(100.0), 4, every(0.9, OBSERVE, workers=4))
    assert drain(kato, 5.0)[0] is False


def test_client_that_leaves() -> None:
    """The drain ends a moment after the last request."""
    kato = Kato(ManualClock(100.0), 2, [(1, 100.0 + n / 4, OBSERVE) for n in range(9)])
    became_idle, _, took = drain(kato, 10.0)
    assert became_idle
    assert took == pytest.approx(2.0 + IDLE_FOR, abs=0.3)


@pytest.mark.parametrize(("workers", "busy"), [(1, 0), (4, 3)])
def test_long_request_in_progress(workers: int, busy: int) -> None:
    """A request that does not end keeps the instance busy, in whatever worker."""
    became_idle, events, _ = drain(Kato(ManualClock(100.0), workers, busy={busy}), 3.0)
    assert became_idle is False
    assert "1 requests in progress" in events[0]


def test_worker_that_accepts_no_more_connections() -> None:
    """While a worker process that was seen does not answer, the instance is not idle."""
    kato = Kato(ManualClock(100.0), 2)

    def answer(send: Send) -> Outcome:
        if kato.clock.now > 100.0 + IDLE_FOR / 2:
            kato.accepted = 0
        return kato(send)

    events: list[str] = []

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], 3.0, clock=kato.clock, on_event=on_event)
    assert Player(answer, clock=kato.clock).play(flow, most=20_000) is False
    assert "1 of its 2 worker processes did not answer" in events[0]


def test_own_check_of_an_unusual_path_is_not_a_client() -> None:
    """What a plain check requests is known from its definition, or from the agent's output."""
    ready = ("GET", "/up")
    assert drain(Kato(ManualClock(100.0), 1, every(0.5, ready)), 3.0)[0] is False
    output = "HTTP GET http://127.0.0.1:8001/up: 200 OK Output: "
    given = {"checks": {**PROBED, "c": {"ServiceID": "kato-1", "Output": output}}}
    assert drain(Kato(ManualClock(100.0), 1, every(0.5, ready)), 3.0, **given)[0] is True


@pytest.mark.parametrize(
    ("checks", "paths"),
    [
        ({}, {"/ready"}),
        (
            {"c": {"ServiceID": "kato-1", "Output": "HTTP GET http://x:1/up?a=1: 200 OK Output: "}},
            {"/ready", "/up"},
        ),
        (
            {"c": {"ServiceID": "kato-2", "Output": "HTTP GET http://x:1/up: 200 OK Output: "}},
            {"/ready"},
        ),
        (
            {"c": {"ServiceID": "kato-1", "Output": 'Get "http://x:1/up": connection refused'}},
            {"/ready"},
        ),
    ],
)
def test_check_paths(checks: dict[str, Any], paths: set[str]) -> None:
    """The paths of a definition's checks, and those that the agent's outputs name."""
    check = CheckDefinition(http="http://kato.test:8000/ready")
    definition = ServiceDefinition(name="kato", id="kato-1", port=8000, check=check)
    assert check_paths([definition], checks) == {"kato-1": paths}


@pytest.mark.parametrize(
    ("outcome", "checks"), [(reply(200, {"c": {"ServiceID": "kato-1"}}), {"c"}), (refused(), set())]
)
def test_checks_that_cannot_be_read(outcome: Outcome, checks: set[str]) -> None:
    """A drain goes on without them."""
    flow = read_checks(ConsulApi("http://consul.test:8500"), 3.0)
    assert Player(lambda send: outcome).play(flow).keys() == checks


def plain_check(status: str) -> dict[str, Any]:
    """Return the checks of an agent, of which one is the instance's: a plain one."""
    return {"service:kato-1": {"ServiceID": "kato-1", "Status": status, "Output": ""}}


@pytest.mark.parametrize(
    ("checks", "takes", "why"),
    [
        (plain_check("passing"), IDLE_FOR, "does not list its requests as KATO does"),
        (plain_check("critical"), 0.0, "it was critical"),
        ({**PROBED, **plain_check("passing")}, 5.0, "did not report its number of requests"),
    ],
)
def test_program_that_is_not_kato(checks: dict[str, Any], takes: float, why: str) -> None:
    """Its requests cannot be known, so its clients have a second; none uses a critical one. With
    the check of KATO's probe it should be KATO, and is given the whole time."""
    clock = ManualClock(100.0)
    events: list[str] = []

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], 5.0, clock=clock, on_event=on_event, checks=checks)
    idle = Player(lambda send: reply(404, b"no such page"), clock=clock).play(flow)
    assert idle is (takes < 5.0)
    assert clock.now == pytest.approx(100.0 + takes)
    assert why in events[0]


def test_kato_with_a_plain_check() -> None:
    """It lists its requests, so its clients are waited for."""
    kato = Kato(ManualClock(100.0), busy={0})
    assert drain(kato, 3.0, checks=plain_check("passing"))[0] is False


def test_instance_that_stops_reporting_is_not_idle() -> None:
    """An instance that does not report its requests any more is not drained."""
    kato = Kato(ManualClock(100.0))
    events: list[str] = []

    def answer(send: Send) -> Outcome:
        return kato(send) if kato.clock.now < 100.5 else refused()

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(event)

    flow = wait_until_idle([ONE], 5.0, clock=kato.clock, on_event=on_event)
    assert Player(answer, clock=kato.clock).play(flow) is False
    assert events == [RegistrarEvent.STILL_BUSY]


@pytest.mark.parametrize("within", [2.1, 2.4, 2.6])
def test_reason_when_time_is_up_in_the_middle_of_a_poll(within: float) -> None:
    """A last poll without time for all its requests does not replace what the ones before found."""
    kato = Kato(ManualClock(100.0), 1, every(0.1, OBSERVE))
    events: list[str] = []

    def answer(send: Send) -> Outcome:
        takes = 0.1 if kato.clock.now > 101.0 else 0.0
        kato.clock.advance(min(takes, send.timeout))
        return hung() if takes > send.timeout else kato(send)

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], within, clock=kato.clock, on_event=on_event)
    assert Player(answer, clock=kato.clock).play(flow) is False
    assert "of clients in the last" in events[0]


@pytest.mark.parametrize("stats", [{}, {"timestamp": 1.0}, {"time_series": []}, [], "text"])
def test_instance_without_numbers_is_given_the_whole_time(stats: Any) -> None:
    """An instance that does not list its requests is given the whole drain time."""
    kato = Kato(ManualClock(100.0))
    events: list[str] = []

    def answer(send: Send) -> Outcome:
        return reply(200, stats) if send.target.startswith("/stats") else kato(send)

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append(describe_event(event, fields))

    flow = wait_until_idle([ONE], 3.0, clock=kato.clock, on_event=on_event)
    assert Player(answer, clock=kato.clock).play(flow) is False
    assert kato.clock.now == pytest.approx(103.0)
    assert "did not report its number of requests" in events[0]


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("slow", ["/health", "/concurrency", "/stats?minutes=1"])
@pytest.mark.parametrize("within", [0.5, 3.0, 10.0])
def test_slow_instance_does_not_prolong_the_drain(within: float, slow: str, answers: bool) -> None:
    """The drain takes no longer than its time, and another instance still becomes idle in it."""
    clock, events = ManualClock(100.0), []
    kato = {ONE.origin: Kato(clock), TWO.origin: Kato(clock)}

    def on_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
        events.append((subject, event))

    def answer(send: Send) -> Outcome:
        if send.target == slow and send.origin == ONE.origin:
            takes = 1.5 if answers else send.timeout
            clock.advance(min(takes, send.timeout))
            if takes >= send.timeout:
                return hung()
        return kato[send.origin](send)

    flow = wait_until_idle([ONE, TWO], within, clock=clock, on_event=on_event)
    became_idle = Player(answer, clock=clock).play(flow)
    assert clock.now <= 100.0 + within + 1e-6
    assert became_idle is (len(events) == 2 and (ONE.id, RegistrarEvent.STILL_BUSY) not in events)
    if within == 10.0:
        assert ("kato-2", RegistrarEvent.DRAINED) in events


def test_unknown_instance_cannot_be_drained() -> None:
    """Draining an instance that the agent does not have is an error. It names the instance's node,
    if the catalog has it."""
    missing = reply(404, b'No service registered with ID "kato-1"')
    listed = [{"Node": "n2", "Address": "10.0.0.2", "ServiceID": "kato-1"}]
    for catalog, named in (
        (reply(200, listed, x_consul_index="7"), "registered with, of node n2 (10.0.0.2)"),
        (reply(200, [], x_consul_index="7"), "registered with"),
        (refused(), "registered with"),
    ):

        def answer(send: Send, catalog: Outcome = catalog) -> Outcome:
            return catalog if "/catalog/service/kato?" in send.target else missing

        flow = enter(ConsulApi("http://consul.test:8500"), ONE, "why", 5.0, lambda *_, **__: None)
        with pytest.raises(ConsulRejected) as caught:
            Player(answer).play(flow)
        assert str(caught.value).endswith(f"Use the agent that it was {named}")
