"""How an instance really is: what a look sees, and when a verdict changes."""

from collections.abc import Callable

import pytest

from kato_consul._definitions.schema import ProbeDefinition, ServiceDefinition
from kato_consul._flow import Outcome, Send
from kato_consul._registration.events import RegistrarEvent, describe_event
from kato_consul._registration.health_probe import GOOD, Hysteresis, Prober, ProbeResult, probe
from kato_consul._registration.registrar_state import HealthStatus, RegistrarState
from kato_consul.models import Health
from kato_consul.testing.clock import ManualClock
from tests.building import hung, refused, reply
from tests.flows import Player, TooLong

HEALTHY = reply(200, {"status": "healthy", "uptime_seconds": 3.2})
MADE = reply(200, {"session_id": "session-1"})
LIMIT = reply(503, b"Service Unavailable", connection="close")
P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL

Answers = dict[str, Outcome]
GOOD_ANSWERS: Answers = {
    "GET /health": HEALTHY,
    "POST /sessions": MADE,
    "POST /sessions/session-1/clear-stm": reply(200, {}),
    "GET /status": reply(200, {"version": "3.10.1", "base_processor_id": "kato"}),
}


def answering(answers: Answers, took: float, clock: ManualClock) -> Callable[[Send], Outcome]:
    """An instance in a dict; each answer takes its time."""

    def answer(send: Send) -> Outcome:
        clock.advance(took)
        return answers[f"{send.method} {send.target}"]

    return answer


@pytest.mark.parametrize(
    ("changed", "status", "note"),
    [
        ({}, P, GOOD),
        ({"GET /health": refused()}, C, "could not connect"),
        ({"GET /health": hung()}, C, "no answer in time"),
        ({"GET /health": reply(200, {"status": "unhealthy"})}, C, "it calls itself unhealthy"),
        ({"GET /health": reply(200, {"status": "degraded"})}, W, "it calls itself degraded"),
        ({"GET /health": reply(200, b"<html>")}, C, "no KATO: /health says 200"),
        ({"GET /health": reply(200, ["healthy"])}, C, "no KATO: /health says 200"),
        ({"GET /health": reply(404, b"")}, C, "no KATO: /health says 404"),
        ({"GET /health": LIMIT}, W, "at its limit of concurrent requests"),
        ({"POST /sessions": reply(500, b"Internal Server Error")}, C, "its store does not answer"),
        ({"POST /sessions": hung()}, C, "no answer in time"),
        ({"POST /sessions": reply(200, {})}, C, "it makes sessions without an id"),
        # A degraded instance whose store is away is away.
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
def test_look(changed: Answers, status: Health, note: str) -> None:
    """Each thing that can be wrong has its status and its words."""
    clock = ManualClock()
    player = Player(answering({**GOOD_ANSWERS, **changed}, 0.0, clock), clock=clock)
    seen = player.play(Prober("http://kato.test:8000", ProbeDefinition(), clock).probe(5.0))
    assert seen.status is status
    assert seen.note.startswith(note)


CLEAR, EXISTS = "POST /sessions/session-1/clear-stm", "GET /sessions/session-1/exists"
NOT_FOUND = reply(404, {"error": {"code": "SESSION_NOT_FOUND"}})


@pytest.mark.parametrize(
    ("answers", "status", "note"),
    [
        # As KATO 3.10.1 answers: its store is down; it is full; the session is gone.
        ({CLEAR: NOT_FOUND, EXISTS: reply(500, b"Internal Server Error")}, C, "its store does not"),
        ({CLEAR: NOT_FOUND, EXISTS: reply(200, {"exists": True})}, C, "its store takes no writes"),
        ({CLEAR: NOT_FOUND, EXISTS: reply(200, {"exists": False})}, P, GOOD),
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
        ({CLEAR: LIMIT}, W, "at its limit"),
    ],
)
def test_later_look(answers: Answers, status: Health, note: str) -> None:
    """A look with the session of the one before: "not found" is believed after `exists`."""
    clock = ManualClock()
    said: Answers = dict(GOOD_ANSWERS)
    player = Player(lambda send: said[f"{send.method} {send.target}"], clock=clock)
    prober = Prober("http://kato.test:8000", ProbeDefinition(), clock)
    assert player.play(prober.probe(5.0)).status is P
    said.update(answers)
    seen = player.play(prober.probe(5.0))
    assert (seen.status, seen.note.startswith(note)) == (status, True)


def test_slow() -> None:
    """An answer that takes longer than the threshold is a warning, whose words do not change."""
    clock = ManualClock()
    player = Player(answering(GOOD_ANSWERS, 1.5, clock), clock=clock)
    seen = player.play(Prober("http://kato.test:8000", ProbeDefinition(), clock).probe(5.0))
    assert seen == ProbeResult(W, "slow: an answer took longer than 1 s")


@pytest.mark.parametrize(
    ("looks", "verdicts"),
    [
        ("P", "P"),  # the first decides alone
        ("C", "C"),
        ("PCP", "PPP"),  # one bad look is no crash
        ("PCC", "PPC"),
        ("PCPC", "PPPC"),  # two of the last three
        ("CPP", "CCP"),
        ("PWCP", "PPPP"),  # no majority: as it was
        ("PWWCC", "PPWWC"),
        ("PPPCPPCPP", "PPPPPPPPP"),  # a rare bad look never adds up
        ("PCPCPCPC", "PPPCCCCC"),  # one that flaps is out, and stays out
        ("CPCPCPP", "CCCCCCP"),  # until it is well twice in a row
        ("CWPW", "CCCC"),
        ("CWW", "CCW"),
    ],
)
def test_hysteresis(looks: str, verdicts: str) -> None:
    """Two of the last three make it worse, the last two in a row make it better."""
    names = {"P": P, "W": W, "C": C}
    rule, verdict, found = Hysteresis(2, 3), None, ""
    for sign in looks:
        verdict = rule.after(ProbeResult(names[sign], sign), verdict)
        found += verdict.status.value[0].upper()
    assert found == verdicts


def test_the_note_stays() -> None:
    """While the status does not change, neither does the verdict: it is the same object."""
    rule = Hysteresis(2, 3)
    first = rule.after(ProbeResult(C, "no answer in time"), None)
    assert rule.after(ProbeResult(C, "could not connect"), first) is first
    assert first == HealthStatus(C, "no answer in time")


said: list[str] = []


def hear(event: RegistrarEvent, who: str, /, **fields: object) -> None:
    """Note what is told, in words."""
    said.append(describe_event(event, fields))


def probing(answer: Callable[[Send], Outcome], clock: ManualClock, most: int) -> Player:
    """Play the endless flow for some steps; what it said is in ``said``."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
    player = Player(answer, clock=clock)

    said.clear()
    flow = probe(state, state.instances["kato-1"], clock=clock, random=lambda: 0.5, on_event=hear)
    with pytest.raises(TooLong):
        player.play(flow, most=most)
    return player


def test_rhythm() -> None:
    """A look each interval; one that differs from the verdict is repeated after a fifth of it."""
    clock = ManualClock()
    answers = dict(GOOD_ANSWERS)
    looks = 0

    def answer(send: Send) -> Outcome:
        nonlocal looks
        looks += send.target == "/health"
        good = looks < 3 or looks > 5
        return answers[f"{send.method} {send.target}"] if good else refused()

    player = probing(answer, clock, most=22)
    assert player.waited[:7] == [5.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]
    assert said == [
        f"passing: {GOOD}",
        "is KATO 3.10.1, SERVICE_NAME kato",
        "critical: could not connect",
        f"passing: {GOOD}",
    ]


def test_a_hung_instance_is_not_piled_upon() -> None:
    """While it hangs there is one request at a time, and each waits longer than the one before."""
    clock = ManualClock()

    def answer(send: Send) -> Outcome:
        clock.advance(send.timeout)
        return hung()

    player = probing(answer, clock, most=14)
    assert [send.timeout for send in player.sent] == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0]
    assert {send.target for send in player.sent} == {"/health"}


def test_resting() -> None:
    """An instance in maintenance mode is not asked anything."""
    state = RegistrarState([ServiceDefinition(name="kato", id="kato-1", port=8000)])
    one = state.instances["kato-1"]
    one.in_maintenance = True
    player = Player(lambda send: refused())
    flow = probe(state, one, clock=player.clock, random=lambda: 0.5, on_event=hear)
    with pytest.raises(TooLong):
        player.play(flow, most=5)
    assert player.sent == []
