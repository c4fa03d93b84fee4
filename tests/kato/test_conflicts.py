"""Conflicts: KATO's session is not in the state that this client left, for each ``on_conflict``."""

from typing import Any

import pytest

from kato_consul._flow import Outcome, Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write, settle
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.learning import learn
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_options import OnConflict
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul.errors import SessionConflict, StoreUnavailable
from kato_consul.testing.kato import memory
from tests.flows import Player
from tests.kato.model_kato import Fault, ModelKato, playing


class SharedSession:
    """A session in which this client has observed "a" and "b"."""

    def __init__(self, on_conflict: OnConflict = "repair") -> None:
        self.kato = ModelKato()
        self.player: Player
        self.api: KatoApi
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", on_conflict=on_conflict)
        for symbol in "ab":
            self.observe(symbol)

    def play(self, flow: Any, **arguments: Any) -> Any:
        """Run a flow with a deadline of 30 s."""
        deadline = self.kato.clock.now + 30.0
        return self.player.play(flow(self.api, self.state, deadline, **arguments), most=5_000)

    def observe(self, symbol: str) -> int:
        """Observe a symbol; return the counter in the result."""
        write = writes.observe({"strings": [symbol]})
        deadline = self.kato.clock.now + 30.0
        return self.player.play(execute_write(self.api, self.state, deadline, write))["time"]

    def another_writer_observes(self, symbol: str) -> None:
        """Add an observation that this client did not send."""
        memory.observe(self.kato.only_session(), memory.ObservationInput([symbol]))

    def kato_loses_last_event(self) -> None:
        """Drop the last observation, as a full store does."""
        session = self.kato.only_session()
        session.time -= 1
        session.stm.pop()

    @property
    def symbols(self) -> list[str]:
        """The symbols that KATO has."""
        return [symbol for (symbol,) in self.kato.session_of(self.state).stm]


def test_repair_raises_on_an_event_of_another_writer() -> None:
    """An event that this client did not write raises a conflict with both states."""
    session = SharedSession()
    session.another_writer_observes("x")
    with pytest.raises(SessionConflict) as caught:
        session.observe("c")
    assert (caught.value.expected, caught.value.found) == (2, 4)
    assert caught.value.expected_stm == [["a"], ["b"]]
    assert caught.value.found_stm == [["a"], ["b"], ["x"], ["c"]]
    assert session.symbols == ["a", "b", "x", "c"]  # no event was removed
    assert session.observe("d") == 5  # after the error, the client continues from KATO's state


def test_repair_raises_on_a_learn_of_another_writer() -> None:
    """A learn removes the events and keeps the counter. It must not be undone."""
    session = SharedSession()
    memory.learn(session.kato.only_session())
    with pytest.raises(SessionConflict):
        session.observe("c")
    assert session.symbols == ["c"]


def test_repair_restores_a_lost_event() -> None:
    """An event that only KATO can have lost is restored."""
    session = SharedSession()
    session.kato_loses_last_event()
    assert session.observe("c") == 3
    assert session.symbols == ["a", "b", "c"]
    assert session.state.repairs == 1


def test_raise_reports_a_lost_event() -> None:
    """With "raise" a state that could be repaired raises too, and nothing is changed."""
    session = SharedSession("raise")
    session.kato_loses_last_event()
    with pytest.raises(SessionConflict):
        session.observe("c")
    assert session.symbols == ["a", "c"]
    assert session.state.repairs == 0


@pytest.mark.parametrize("cause", ["another_writer_observes", "kato_loses_last_event"])
def test_adopt_continues_from_katos_state(cause: str) -> None:
    """With "adopt" the client continues from KATO's state, whatever its cause."""
    session = SharedSession("adopt")
    if cause == "kato_loses_last_event":
        session.kato_loses_last_event()
    else:
        session.another_writer_observes("x")
    before = session.symbols
    session.observe("c")
    assert session.symbols == [*before, "c"]
    assert session.state.journal.stm == [[symbol] for symbol in session.symbols]
    session.observe("d")
    assert session.state.repairs == 0


def test_adopt_reads_katos_state() -> None:
    """With "adopt" a read returns KATO's state."""
    session = SharedSession("adopt")
    session.another_writer_observes("x")
    stm = session.player.play(reading.stm(session.api, session.state, 90.0))
    assert stm == [["a"], ["b"], ["x"]]


def test_incomplete_journal_is_not_replayed() -> None:
    """A session that outgrew its journal raises a conflict: only a part could be restored."""
    session = SharedSession()
    session.state.journal._log.pop(0)  # as if the journal were full
    session.state.journal._count -= 1
    session.kato_loses_last_event()
    with pytest.raises(SessionConflict):
        session.observe("c")


@pytest.mark.parametrize("between", [writes.set_config({"max_predictions": 7}), writes.extend(60)])
def test_loss_is_explained_after_a_write_that_shows_no_memory(between: Write[None]) -> None:
    """A learn was acknowledged and not saved. Only a response with a counter shows that."""
    session = SharedSession()
    session.kato.saves = False
    session.play(learn)
    session.kato.saves = True
    session.play(execute_write, write=between)
    session.play(execute_write, write=observe_sequence([]))
    session.observe("c")
    assert session.symbols == ["c"]


@pytest.mark.parametrize("lost", ["before", "with"])
def test_loss_is_explained_beside_a_sequence_that_clears(lost: str) -> None:
    """A store was full for a moment, before or during ``clear_stm_between``."""
    session = SharedSession()
    sequence = observe_sequence([{"strings": ["x"]}, {"strings": ["y"]}], clear_stm_between=True)
    session.kato.saves = False
    if lost == "before":
        session.observe("c")
        session.kato.saves = True
    session.play(execute_write, write=sequence)
    session.kato.saves = True
    session.observe("z")
    assert session.symbols == ["y", "z"]


@pytest.mark.parametrize("applied", [True, False])
def test_adopt_settles_a_cancelled_write_without_observations(applied: bool) -> None:
    """Another writer's observation says nothing of a clear, or of a configuration."""
    for write in (writes.clear_stm(), writes.set_config({"max_predictions": 7})):
        session = SharedSession("adopt")
        deadline = session.kato.clock.now + 30.0
        flow = execute_write(session.api, session.state, deadline, write)
        step = next(flow)
        assert isinstance(step, Send)
        if applied:
            session.kato.answer(step)
        flow.close()
        session.another_writer_observes("x")
        assert session.play(settle) is (applied and write.config is not None)


def test_extend_works_again_after_a_store_was_full() -> None:
    """It changes neither counter nor memory, so nothing of it is read back."""
    session = SharedSession()
    session.kato.saves = False
    session.observe("c")
    with pytest.raises(StoreUnavailable):
        session.observe("d")
    session.kato.saves = True
    before = len(session.player.sent)
    session.play(execute_write, write=writes.extend(60))
    assert len(session.player.sent) - before < 12
    session.play(learn)
    assert list(session.kato.patterns.values()) == [1]


# --- whether the call is in the session -----------------------------------------------------


def test_conflict_says_that_the_call_is_in_the_session() -> None:
    """KATO acknowledged it, and its memory shows it beside the other writer's event."""
    session = SharedSession()
    session.another_writer_observes("x")
    with pytest.raises(SessionConflict, match="This call is in it") as caught:
        session.observe("c")
    assert caught.value.call_applied is True


def test_conflict_does_not_say_what_the_memory_does_not_show() -> None:
    """Another writer has learned it, or removed it: KATO does not tell which."""
    session = SharedSession()
    session.another_writer_observes("x")

    def answer(send: Send) -> Outcome:
        outcome = session.kato.answer(send)
        if send.target.endswith("/observe"):
            memory.learn(session.kato.only_session())
        return outcome

    session.player.answer = answer
    write = writes.observe({"strings": ["c"]})
    with pytest.raises(SessionConflict, match="not seen in it") as caught:
        session.play(execute_write, write=write)
    assert caught.value.call_applied is None


def test_conflict_before_a_call_says_that_it_was_not_sent() -> None:
    """A learn reads the memory first, and does not learn what another writer has changed."""
    session = SharedSession()
    session.another_writer_observes("x")
    with pytest.raises(SessionConflict, match="This call was not sent") as caught:
        session.play(learn)
    assert caught.value.call_applied is False
    assert not session.kato.patterns


@pytest.mark.parametrize(
    ("fault", "applied"), [(Fault.LOST_ANSWER, True), (Fault.LOST_REQUEST, None)]
)
def test_conflict_in_settle_is_about_the_call_that_it_settles(
    fault: Fault, applied: bool | None
) -> None:
    """A cancelled observation, and another writer meanwhile: settle says whether it is in."""
    session = SharedSession()
    write = writes.observe({"strings": ["c"]})
    flow = execute_write(session.api, session.state, 90.0, write)
    session.kato.faults = [fault]
    for step in flow:
        if isinstance(step, Send):
            session.kato.answer(step)
            break
    flow.close()
    session.another_writer_observes("x")
    with pytest.raises(SessionConflict) as caught:
        session.play(settle)
    assert caught.value.call_applied is applied
