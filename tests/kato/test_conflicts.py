"""What is done when KATO's session is not what this client left there, by ``on_conflict``."""

import pytest

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import OnConflict, SessionState
from kato_consul.errors import SessionConflict
from kato_consul.testing.kato import memory
from tests.flows import Player
from tests.kato.model_kato import ModelKato, playing


class Conflicted:
    """A session with "a" and "b" in it, by this client."""

    def __init__(self, on_conflict: OnConflict = "repair") -> None:
        self.kato = ModelKato()
        self.player: Player
        self.api: KatoApi
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", on_conflict=on_conflict)
        for symbol in "ab":
            self.observe(symbol)

    def observe(self, symbol: str) -> int:
        """Observe; the counter that is answered."""
        write = writes.observe({"strings": [symbol]})
        deadline = self.kato.clock.now + 30.0
        return self.player.play(execute(self.api, self.state, deadline, write))["time"]

    def somebody_else_observes(self, symbol: str) -> None:
        """Past this client."""
        memory.observe(self.kato.only_session(), memory.Observation([symbol]))

    def kato_loses_the_last(self) -> None:
        """As a full store does."""
        session = self.kato.only_session()
        session.time -= 1
        session.stm.pop()

    @property
    def there(self) -> list[str]:
        """What KATO has."""
        return [symbol for (symbol,) in self.kato.only_session().stm]


def test_a_foreign_event_is_a_conflict() -> None:
    """With the default, an event that this client cannot have made is told with both sides."""
    session = Conflicted()
    session.somebody_else_observes("x")
    with pytest.raises(SessionConflict) as caught:
        session.observe("c")
    assert (caught.value.expected, caught.value.found) == (2, 4)
    assert caught.value.expected_stm == [["a"], ["b"]]
    assert caught.value.found_stm == [["a"], ["b"], ["x"], ["c"]]
    assert session.there == ["a", "b", "x", "c"]  # nobody's event was taken away
    assert session.observe("d") == 5  # it was told; from here on it goes on from what is there


def test_a_foreign_learn_is_a_conflict() -> None:
    """Somebody else's learn takes the events and leaves the counter: that is not ours to undo."""
    session = Conflicted()
    memory.learn(session.kato.only_session())
    with pytest.raises(SessionConflict):
        session.observe("c")
    assert session.there == ["c"]


def test_a_loss_is_repaired() -> None:
    """With the default, what only KATO can have lost is put back."""
    session = Conflicted()
    session.kato_loses_the_last()
    assert session.observe("c") == 3
    assert session.there == ["a", "b", "c"]
    assert session.state.repairs == 1


def test_raise_tells_of_a_loss() -> None:
    """With "raise" even what could be repaired is told, and nothing is touched."""
    session = Conflicted("raise")
    session.kato_loses_the_last()
    with pytest.raises(SessionConflict):
        session.observe("c")
    assert session.there == ["a", "c"]
    assert session.state.repairs == 0


@pytest.mark.parametrize("disturb", ["somebody_else_observes", "kato_loses_the_last"])
def test_adopt_takes_over(disturb: str) -> None:
    """With "adopt" what is there is taken over, whoever made it."""
    session = Conflicted("adopt")
    if disturb == "kato_loses_the_last":
        session.kato_loses_the_last()
    else:
        session.somebody_else_observes("x")
    before = session.there
    session.observe("c")
    assert session.there == [*before, "c"]
    assert session.state.journal.stm == [[symbol] for symbol in session.there]
    session.observe("d")
    assert session.state.repairs == 0


def test_adopt_when_reading() -> None:
    """With "adopt" a read shows what is there."""
    session = Conflicted("adopt")
    session.somebody_else_observes("x")
    stm = session.player.play(reading.stm(session.api, session.state, 90.0))
    assert stm == [["a"], ["b"], ["x"]]


def test_more_than_the_journal_holds_is_not_put_back() -> None:
    """A session that outgrew its journal is told of, for it could be put back only in part."""
    session = Conflicted()
    session.state.journal.entries.pop(0)  # as if it had been dropped for age
    session.kato_loses_the_last()
    with pytest.raises(SessionConflict):
        session.observe("c")
