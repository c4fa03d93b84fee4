"""The health probe: the result of one probe, and when the health status changes."""

from collections.abc import Callable

import pytest

from kato_consul._definitions.schema import ProbeDefinition, ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.health_probe import (
    PASSING_NOTE,
    Hysteresis,
    Prober,
    ProbeResult,
    probe_instance,
)
from kato_consul._registration.registrar_state import HealthStatus, RegistrarState
from kato_consul.models import Health
from kato_consul.testing.clock import ManualClock
from tests.building import hung, refused, reply
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


@pytest.mark.parametrize(
    ("changed", "status", "note"),
    [
        ({}, P, PASSING_NOTE),
        ({"GET /health": refused()}, C, "could not connect"),
        ({"GET /health": hung()}, C, "no answer in time"),
        ({"GET /health": reply(200, {"status": "unhealthy"})}, C, "/health reports unhealthy"),
        ({"GET /health": reply(200, {"status": "degraded"})}, W, "/health reports degraded"),
        ({"GET /health": reply(200, b"<html>")}, C, "not KATO: /health returned 200"),
        ({"GET /health": reply(200, ["healthy"])}, C, "not KATO: /health returned 200"),
        ({"GET /health": reply(404, b"")}, C, "not KATO: /health returned 404"),
        ({"GET /health": AT_LIMIT}, W, "at its limit of concurrent requests"),
        ({"POST /sessions": reply(500, b"Internal Server Error")}, C, "its store does not answer"),
        ({"POST /sessions": hung()}, C, "no answer in time"),
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
    clock = ManualClock()
    player = Player(answering({**HEALTHY_ANSWERS, **changed}, 0.0, clock), clock=clock)
    result = player.play(Prober("http://kato.test:8000", ProbeDefinition(), clock).probe(5.0))
    assert result.status is status
    assert result.note.startswith(note)


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
    clock = ManualClock()
    player = Player(answering(HEALTHY_ANSWERS, 1.5, clock), clock=clock)
    result = player.play(Prober("http://kato.test:8000", ProbeDefinition(), clock).probe(5.0))
    assert result == ProbeResult(W, "slow: an answer took longer than 1 s")


@pytest.mark.parametrize(
    ("results", "statuses"),
    [
        ("P", "P"),  # the first decides alone
        ("C", "C"),
        ("PCP", "PPP"),  # one failed probe is not a crash
        ("PCC", "PPC"),
        ("PCPC", "PPPC"),  # two of the last three
        ("CPP", "CCP"),
        ("PWCP", "PPPP"),  # no majority: no change
        ("PWWCC", "PPWWC"),
        ("PPPCPPCPP", "PPPPPPPPP"),  # rare failures do not add up
        ("PCPCPCPC", "PPPCCCCC"),  # an instance that flaps becomes critical and stays so
        ("CPCPCPP", "CCCCCCP"),  # until two probes in a row pass
        ("CWPW", "CCCC"),
        ("CWW", "CCW"),
    ],
)
def test_hysteresis(results: str, statuses: str) -> None:
    """Two of the last three make the status worse; the last two in a row make it better."""
    by_letter = {"P": P, "W": W, "C": C}
    hysteresis, health, found = Hysteresis(2, 3), None, ""
    for letter in results:
        health = hysteresis.after(ProbeResult(by_letter[letter], letter), health)
        found += health.status.value[0].upper()
    assert found == statuses


def test_note_does_not_change_while_the_status_does_not() -> None:
    """While the status does not change, the health status stays the same object."""
    hysteresis = Hysteresis(2, 3)
    first = hysteresis.after(ProbeResult(C, "no answer in time"), None)
    assert hysteresis.after(ProbeResult(C, "could not connect"), first) is first
    assert first == HealthStatus(C, "no answer in time")


descriptions: list[str] = []


def record_event(event: RegistrarEvent, subject: str, /, **fields: object) -> None:
    """Record the description of an event."""
    descriptions.append(describe_event(event, fields))


def play_probes(answer: Callable[[Send], Outcome], clock: ManualClock, most: int) -> Player:
    """Play the endless flow for some steps; its events are in ``descriptions``."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
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


def test_hung_instance_gets_one_request_at_a_time() -> None:
    """While an instance hangs, probes do not overlap, and each waits longer than the one before."""
    clock = ManualClock()

    def answer(send: Send) -> Outcome:
        clock.advance(send.timeout)
        return hung()

    player = play_probes(answer, clock, most=14)
    assert [send.timeout for send in player.sent] == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0]
    assert {send.target for send in player.sent} == {"/health"}


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
