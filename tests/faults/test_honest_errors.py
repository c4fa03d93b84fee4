"""What an error says is so, at the ends where nothing can be read back any more."""

import pytest

from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import KatoConsulError, OutcomeUnknown
from tests.flows import Player
from tests.kato.model_kato import Fault, ModelKato, playing

REFUSED = Failure(Cause.CONNECT, bytes_sent=False, detail="refused")
STRANGE = Reply(200, {"content-type": "application/json"}, b"{}")


class Told:
    """A session in which "a" was observed."""

    def __init__(self) -> None:
        self.kato = ModelKato(hangs_for=10_000.0)
        self.player: Player
        self.api: KatoApi
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node")
        self.observe("a")

    def observe(self, symbol: str, within: float = 30.0) -> None:
        """Observe, ``within`` seconds."""
        write = writes.observe({"strings": [symbol]})
        deadline = self.kato.clock.now + within
        self.player.play(execute(self.api, self.state, deadline, write), most=100_000)

    def nobody(self, send: Send) -> Outcome:
        """Every connection is refused, from here on."""
        self.kato.clock.advance(0.01)
        return REFUSED

    @property
    def there(self) -> list[str]:
        """What KATO has."""
        return [symbol for (symbol,) in self.kato.only_session().stm]


def test_an_outage_in_the_middle() -> None:
    """An observation that left, and may be in the hands of a hung instance, is not said to be
    unsent or safe to send again when nobody takes it any more: it may be there tomorrow."""
    told = Told()
    told.kato.faults = [Fault.HANG_UNREAD]

    def then_nobody(send: Send) -> Outcome:
        if told.kato.hung and send.target.endswith("/observe"):
            told.player.answer = told.nobody
        return told.player.answer(send) if told.player.answer == told.nobody else answer(send)

    answer, told.player.answer = told.player.answer, then_nobody
    with pytest.raises(KatoConsulError) as failed:
        told.observe("x")
    told.kato.wake()
    assert told.there == ["a", "x"]
    assert failed.value.sent is not False
    assert failed.value.safe_to_resend is not True


def test_acknowledged_in_strange_words() -> None:
    """Something in between answers 200 in other words than KATO's, and then nobody answers: it may
    have been applied, and whoever does as the error says does not have it applied twice."""
    told = Told()

    def strange(send: Send) -> Outcome:
        answer(send)
        told.player.answer = told.nobody
        return STRANGE

    answer, told.player.answer = told.player.answer, strange
    with pytest.raises(KatoConsulError) as failed:
        told.observe("x")
    told.player.answer = answer
    if failed.value.safe_to_resend:
        told.observe("x")
    assert told.there == ["a", "x"]
    assert isinstance(failed.value, OutcomeUnknown)


def test_strange_words_do_not_make_a_storm() -> None:
    """Something in between that answers 200 and forwards nothing is not asked without a pause."""
    told = Told()
    sent = 0

    def portal(send: Send) -> Outcome:
        nonlocal sent
        told.kato.clock.advance(0.002)
        if not send.target.endswith("/observe"):
            return answer(send)
        sent += 1
        return STRANGE

    answer, told.player.answer = told.player.answer, portal
    with pytest.raises(KatoConsulError):
        told.observe("x", within=5.0)
    assert sent < 50
