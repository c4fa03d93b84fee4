"""Errors are true even if the outcome of a write can no longer be read back."""

import pytest

from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import KatoConsulError, OutcomeUnknown
from tests.flows import Player
from tests.kato.model_kato import Fault, ModelKato, playing

REFUSED = Failure(Cause.CONNECT, bytes_sent=False, detail="refused")
FOREIGN = Reply(200, {"content-type": "application/json"}, b"{}")


class Client:
    """A session with the observation "a", against a model of KATO."""

    def __init__(self) -> None:
        self.kato = ModelKato(hangs_for=10_000.0)
        self.player: Player
        self.api: KatoApi
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node")
        self.observe("a")

    def observe(self, symbol: str, within: float = 30.0) -> None:
        """Send an observation with a deadline ``within`` seconds from now."""
        write = writes.observe({"strings": [symbol]})
        deadline = self.kato.clock.now + within
        self.player.play(execute_write(self.api, self.state, deadline, write), most=100_000)

    def refuse(self, send: Send) -> Outcome:
        """Refuse the connection."""
        self.kato.clock.advance(0.01)
        return REFUSED

    @property
    def stored(self) -> list[str]:
        """The symbols that KATO has."""
        return [symbol for (symbol,) in self.kato.session_of(self.state).stm]


def test_an_unconfirmed_write_is_not_reported_as_unsent() -> None:
    """If an observation was sent to an instance that hangs, and then all connections are refused,
    the error does not say "not sent". It is not applied later: its session was left."""
    client = Client()
    client.kato.faults = [Fault.HANG_UNREAD]

    def then_refuse(send: Send) -> Outcome:
        if client.kato.hung and send.target.endswith("/observe"):
            client.player.answer = client.refuse
        return client.player.answer(send) if client.player.answer == client.refuse else answer(send)

    answer, client.player.answer = client.player.answer, then_refuse
    with pytest.raises(KatoConsulError) as failed:
        client.observe("x")
    client.kato.wake()
    assert client.stored == ["a"]
    assert failed.value.sent
    assert failed.value.safe_to_resend
    client.player.answer = answer
    client.observe("x")
    assert client.stored == ["a", "x"]


def test_an_unknown_200_with_an_outage_is_outcome_unknown() -> None:
    """A gateway returns a 200 that is not KATO's, then all connections are refused. The write may
    have been applied; a caller that follows the error does not apply it twice."""
    client = Client()

    def foreign_response(send: Send) -> Outcome:
        answer(send)
        client.player.answer = client.refuse
        return FOREIGN

    answer, client.player.answer = client.player.answer, foreign_response
    with pytest.raises(KatoConsulError) as failed:
        client.observe("x")
    client.player.answer = answer
    if failed.value.safe_to_resend:
        client.observe("x")
    assert client.stored == ["a", "x"]
    assert isinstance(failed.value, OutcomeUnknown)


def test_unknown_200s_are_not_retried_without_a_pause() -> None:
    """A gateway that returns 200 and forwards nothing does not get requests without a pause."""
    client = Client()
    sent = 0

    def portal(send: Send) -> Outcome:
        nonlocal sent
        client.kato.clock.advance(0.002)
        if not send.target.endswith("/observe"):
            return answer(send)
        sent += 1
        return FOREIGN

    answer, client.player.answer = client.player.answer, portal
    with pytest.raises(KatoConsulError):
        client.observe("x", within=5.0)
    assert sent < 50
