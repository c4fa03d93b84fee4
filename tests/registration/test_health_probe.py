"""The health probe: the result of one probe, and what the flow makes of the results."""

from collections.abc import Callable
from typing import Any

import pytest

from kato_consul._definitions.schema import ProbeDefinition, ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.health_probe import (
    PASSING_NOTE,
    Prober,
    probe_instance,
)
from kato_consul._registration.hysteresis import ProbeResult
from kato_consul._registration.registrar_state import RegistrarState
from kato_consul.models import Health
from kato_consul.testing.clock import ManualClock
from tests.building import ScriptEnds, cut, hung, not_accepted, refused, reply
from tests.flows import Player, TooLong

HEALTHY = reply(200, {"status": "healthy", "uptime_seconds": 3.2})
CREATED = reply(200, {"session_id": "session-1"})
AT_LIMIT = reply(503, b"Service Unavailable", connection="close")
P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL

Answers = dict[str, Outcome]
HEALTHY_ANSWERS: Answers = {
    "GET /health": HEALTHY,
    "POST /sessions": CREATED,
    "POST /sessions/session-1/clear-stm": reply(200, {}),
    "GET /status": reply(200, {"version": "3.10.1", "base_processor_id": "kato"}),
}


def answering(answers: Answers, took: float, clock: ManualClock) -> Callable[[Send], Outcome]:
    """Return an instance that answers from a dict; each answer takes ``took`` seconds."""

    def answer(send: Send) -> Outcome:
        clock.advance(took)
        return answers[f"{send.method} {send.target}"]

    return answer


def not_trusted() -> Failure:
    """Return the failure of a TLS handshake."""
    return Failure(Cause.TLS, bytes_sent=False, detail="unknown CA")


@pytest.mark.parametrize(
    ("changed", "status", "note"),
    [
        ({}, P, PASSING_NOTE),
        ({"GET /health": refused()}, C, "could not connect"),
        ({"GET /health": hung()}, C, "hung: it accepts connections and does not answer"),
        ({"GET /health": cut()}, C, "connection cut"),
        ({"GET /health": reply(200, {"status": "unhealthy"})}, C, "/health reports unhealthy"),
        ({"GET /health": reply(200, {"status": "degraded"})}, W, "/health reports degraded"),
        ({"GET /health": reply(200, b"<html>")}, C, "not KATO: /health returned 200"),
        ({"GET /health": reply(200, ["healthy"])}, C, "not KATO: /health returned 200"),
        ({"GET /health": reply(404, b"")}, C, "not KATO: /health returned 404"),
        ({"GET /health": reply(401, b"no key")}, C, "not KATO: /health returned 401: a gateway"),
        (
            {"GET /health": reply(301, location="https://a/?key=x")},
            C,
            "not KATO: /health returned 301: it redirects to https://a/: ",
        ),
        (
            {"POST /sessions": reply(403, b"")},
            C,
            "a request returned 403: a gateway in front of KATO refused",
        ),
        ({"GET /health": not_trusted()}, C, "no TLS connection (unknown CA)"),
        ({"GET /health": AT_LIMIT}, W, "at its limit of concurrent requests"),
        ({"POST /sessions": reply(500, b"Internal Server Error")}, C, "its store does not answer"),
        ({"POST /sessions": hung()}, C, "its store does not answer: a session request got no"),
        ({"POST /sessions": reply(200, {})}, C, "it created a session without an id"),
        # Degraded, and its store is down: the worse result counts.
        (
            {
                "GET /health": reply(200, {"status": "degraded"}),
                "POST /sessions": reply(500, b""),
            },
            C,
            "its store does not answer",
        ),
    ],
)
def test_first_probe(changed: Answers, status: Health, note: str) -> None:
    """Each possible problem has its status and its note."""
    result = first_probe(changed)
    assert result.status is status
    assert result.note.startswith(note)


CPU, MEMORY, ERRORS = "High CPU usage", "High memory usage", "High error rate"
BUSY = "its machine is busy"


@pytest.mark.parametrize(
    ("reported", "issues", "status", "note", "with_warn_on_load"),
    [
        ("degraded", [CPU], P, f"{BUSY}: {CPU}", W),
        ("unhealthy", [MEMORY], P, f"{BUSY}: {MEMORY}", W),
        ("unhealthy", [CPU, MEMORY], P, f"{BUSY}: {CPU}, {MEMORY}", W),
        ("degraded", [ERRORS], W, f"/health reports degraded: {ERRORS}", W),
        ("degraded", [CPU, ERRORS], W, f"/health reports degraded: {CPU}, {ERRORS}", W),
        ("unhealthy", ["switched"], C, "/health reports unhealthy: switched", C),
        ("unhealthy", [MEMORY, "disk"], C, f"/health reports unhealthy: {MEMORY}, disk", C),
        (
            "unhealthy",
            [MEMORY, "5 of 5 failed"],
            C,
            f"/health reports unhealthy: {MEMORY}, other",
            C,
        ),
        ("unhealthy", [MEMORY, {"a": 1}], C, f"/health reports unhealthy: {MEMORY}, other", C),
        ("degraded", [], W, "/health reports degraded", W),
        ("healthy", [CPU], P, PASSING_NOTE, P),
    ],
)
def test_load_alone_does_not_change_the_status(
    reported: str, issues: list[Any], status: Health, note: str, with_warn_on_load: Health
) -> None:
    """A busy machine is passing, with the issue in the note, unless ``warn_on_load`` is set."""
    report = reply(200, {"status": reported, "issues": issues, "uptime_seconds": 3.2})
    result = first_probe({"GET /health": report})
    assert (result.status, result.note) == (status, note)
    asked = first_probe({"GET /health": report}, ProbeDefinition(warn_on_load=True))
    assert asked.status is with_warn_on_load


def test_busy_instance_with_another_problem() -> None:
    """Load excuses nothing else: a store that is down is critical, a slow answer a warning."""
    report = reply(200, {"status": "degraded", "issues": [CPU]})
    store_down = first_probe({"GET /health": report, "POST /sessions": reply(500, b"")})
    assert store_down.status is C
    assert first_probe({"GET /health": report}, took=1.5).status is W


def first_probe(
    changed: Answers, definition: ProbeDefinition | None = None, *, took: float = 0.0
) -> ProbeResult:
    """Return the result of the first probe of an instance with these answers."""
    clock = ManualClock()
    player = Player(answering({**HEALTHY_ANSWERS, **changed}, took, clock), clock=clock)
    prober = Prober("http://kato.test:8000", definition or ProbeDefinition(), clock)
    return player.play(prober.probe(5.0))


CLEAR, EXISTS = "POST /sessions/session-1/clear-stm", "GET /sessions/session-1/exists"
NOT_FOUND = reply(404, {"error": {"code": "SESSION_NOT_FOUND"}})


@pytest.mark.parametrize(
    ("answers", "status", "note"),
    [
        # As KATO 3.10.1 answers: its store is down; it is full; the session does not exist.
        ({CLEAR: NOT_FOUND, EXISTS: reply(500, b"Internal Server Error")}, C, "its store does not"),
        (
            {CLEAR: NOT_FOUND, EXISTS: reply(200, {"exists": True})},
            C,
            "its store accepts no writes",
        ),
        ({CLEAR: NOT_FOUND, EXISTS: reply(200, {"exists": False})}, P, PASSING_NOTE),
        (
            {
                CLEAR: NOT_FOUND,
                EXISTS: reply(200, {"exists": False}),
                "POST /sessions": reply(500, b""),
            },
            C,
            "its store does not answer",
        ),
        ({CLEAR: reply(500, b"")}, C, "its store does not answer"),
        ({CLEAR: AT_LIMIT}, W, "at its limit"),
    ],
)
def test_later_probe(answers: Answers, status: Health, note: str) -> None:
    """A probe that has a session already accepts "not found" only after `exists` confirmed it."""
    clock = ManualClock()
    current: Answers = dict(HEALTHY_ANSWERS)
    player = Player(lambda send: current[f"{send.method} {send.target}"], clock=clock)
    prober = Prober("http://kato.test:8000", ProbeDefinition(), clock)
    assert player.play(prober.probe(5.0)).status is P
    current.update(answers)
    result = player.play(prober.probe(5.0))
    assert (result.status, result.note.startswith(note)) == (status, True)


def test_slow_answer_is_a_warning() -> None:
    """An answer that takes longer than ``slow`` is a warning; its note does not have the time."""
    result = first_probe({}, took=1.5)
    assert result == ProbeResult(W, "slow: an answer took longer than 1 s")


descriptions: list[str] = []


def record_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
    """Record the description of an event."""
    descriptions.append(describe_event(event, fields))


def play_probes(
    answer: Callable[[Send], Outcome], clock: ManualClock, most: int, *, starts: bool = False
) -> Player:
    """Play the endless flow for some steps; its events are in ``descriptions``."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
    state.starts_with_instance = starts
    player = Player(answer, clock=clock)
    descriptions.clear()
    flow = probe_instance(
        state, state.instances["kato-1"], clock=clock, random=lambda: 0.5, on_event=record_event
    )
    with pytest.raises(TooLong):
        player.play(flow, most=most)
    return player


def test_differing_result_is_checked_again_soon() -> None:
    """A result that differs from the status is checked again after a fifth of the interval."""
    clock = ManualClock()
    answers = dict(HEALTHY_ANSWERS)
    probes = 0

    def answer(send: Send) -> Outcome:
        nonlocal probes
        probes += send.target == "/health"
        healthy = probes < 3 or probes > 5
        return answers[f"{send.method} {send.target}"] if healthy else refused()

    player = play_probes(answer, clock, most=22)
    assert player.waited[:7] == [5.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]
    assert descriptions == [
        f"passing: {PASSING_NOTE}",
        "runs KATO 3.10.1, SERVICE_NAME kato",
        "critical: could not connect",
        f"passing: {PASSING_NOTE}",
    ]


@pytest.mark.parametrize(
    ("starts", "takes", "reported"),
    [(True, 20.0, False), (True, 40.0, True), (False, 20.0, True)],
)
def test_instance_that_starts_is_no_event(starts: bool, takes: float, reported: bool) -> None:
    """An instance that starts with its registrar has half a minute to accept connections."""
    clock = ManualClock()

    def answer(send: Send) -> Outcome:
        accepts = clock.now > takes
        return HEALTHY_ANSWERS[f"{send.method} {send.target}"] if accepts else refused()

    play_probes(answer, clock, most=40, starts=starts)
    assert ("critical: could not connect" in descriptions) is reported
    assert f"passing: {PASSING_NOTE}" in descriptions


def test_hung_instance_gets_one_request_at_a_time() -> None:
    """While an instance hangs, probes do not overlap, and each waits longer than the one before."""
    clock = ManualClock()

    def answer(send: Send) -> Outcome:
        clock.advance(send.timeout)
        return hung()

    player = play_probes(answer, clock, most=7)
    assert [send.timeout for send in player.sent] == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0]
    assert {send.target for send in player.sent} == {"/health"}
    assert player.waited == []  # one request is always pending
    assert descriptions == ["critical: hung: it accepts connections and does not answer"]


@pytest.mark.parametrize(
    ("outcomes", "hung_since"),
    [
        # The first probe is sent after 1 s, and each one that is not answered takes 5 s or more.
        ([HEALTHY], None),
        ([hung()], 1.0),  # the first result decides alone
        ([HEALTHY, hung()], None),  # a single unanswered request
        ([HEALTHY, hung(), hung()], 6.0),
        ([hung(), hung(), hung()], 1.0),
        ([hung(), HEALTHY], None),  # an answer ends it, although the status is still critical
        ([hung(), cut()], None),  # so does the end of the process
        ([hung(), AT_LIMIT], None),
        ([hung(), refused()], None),
        ([hung(), not_accepted()], 1.0),  # its queue of connections is full
        ([HEALTHY, hung(), not_accepted()], None),  # a machine that vanished
        ([not_accepted(), not_accepted()], None),
        ([refused(), refused()], None),
        ([cut(), cut()], None),
    ],
)
def test_since_when_an_instance_is_hung(outcomes: list[Outcome], hung_since: float | None) -> None:
    """Hung: critical, and not answered a request since; measured from the first such request."""
    clock = ManualClock()
    clock.advance(1.0)
    definition = ServiceDefinition(name="kato", id="kato-1", port=8000)
    state = RegistrarState([definition])
    instance = state.instances["kato-1"]
    remaining = [*outcomes]
    measured: list[float | None] = []

    def answer(send: Send) -> Outcome:
        if send.target != "/health":
            return HEALTHY_ANSWERS[f"{send.method} {send.target}"]
        if not remaining:
            measured.append(instance.hung_since)
            raise ScriptEnds
        outcome = remaining.pop(0)
        if isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT:
            clock.advance(send.timeout)
        return outcome

    player = Player(answer, clock=clock)
    flow = probe_instance(state, instance, clock=clock, random=lambda: 0.5, on_event=record_event)
    with pytest.raises(ScriptEnds):
        player.play(flow)
    assert measured == [hung_since]


@pytest.mark.parametrize("outcome", [HEALTHY, hung()])
def test_probe_that_ended_leaves_no_result(outcome: Outcome) -> None:
    """Whatever ends the probe, no status is left that a heartbeat would send from then on."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
    instance = state.instances["kato-1"]
    clock = ManualClock()
    found = []

    def answer(send: Send) -> Outcome:
        if send.target != "/health":
            return HEALTHY_ANSWERS[f"{send.method} {send.target}"]
        if instance.health.current is not None:
            found.append(instance.health.current)
            raise ScriptEnds
        return outcome

    flow = probe_instance(state, instance, clock=clock, random=lambda: 0.5, on_event=record_event)
    with pytest.raises(ScriptEnds):
        Player(answer, clock=clock).play(flow)
    assert len(found) == 1
    assert (instance.health.current, instance.hung_since) == (None, None)


def test_instance_in_maintenance_is_not_probed() -> None:
    """No request is sent to an instance in maintenance mode."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
    instance = state.instances["kato-1"]
    instance.in_maintenance = True
    player = Player(lambda send: refused())
    flow = probe_instance(
        state, instance, clock=player.clock, random=lambda: 0.5, on_event=record_event
    )
    with pytest.raises(TooLong):
        player.play(flow, most=5)
    assert player.sent == []
