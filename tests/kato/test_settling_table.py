"""Every fault on every kind of write: it is applied exactly once."""

import pytest

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import OutcomeUnknown
from tests.flows import Player
from tests.kato.model_kato import Fault, ModelKato, playing

FIRST = [["a"], ["b"]]


def opened(kato: ModelKato) -> tuple[Player, KatoApi, SessionState]:
    """A session with two observations in it."""
    player, api = playing(kato)
    state = SessionState("me", "node")
    for event in FIRST:
        player.play(
            execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": event}))
        )
    return player, api, state


@pytest.mark.parametrize("fault", Fault)
def test_observe_with_fault_is_applied_once(fault: Fault) -> None:
    """An observation with a fault is applied once, and the result has the right counter."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    result = player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )
    assert result["time"] == 3
    assert result["stm_length"] == 3
    assert kato.session_of(state).stm == [*FIRST, ["c"]]
    assert kato.session_of(state).time == 3
    assert state.pending is None


@pytest.mark.parametrize("fault", Fault)
def test_observe_without_symbols_with_fault_is_applied_once(fault: Fault) -> None:
    """An observation that changes only the counter is settled by the counter."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    result = player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"emotives": {"joy": 1.0}}))
    )
    assert result["time"] == kato.session_of(state).time == 3
    assert len(kato.session_of(state).emotives) == 1


@pytest.mark.parametrize("fault", Fault)
def test_observe_sequence_with_fault_is_applied_once(fault: Fault) -> None:
    """A sequence with a fault is applied once and completely."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    events = [["c"], [], ["d"]]
    write = observe_sequence([{"strings": event} for event in events])
    result = player.play(execute_write(api, state, kato.clock.now + 90.0, write))
    assert [entry["time"] for entry in result["results"]] == [3, 4, 5]
    assert kato.session_of(state).stm == [*FIRST, ["c"], ["d"]]
    assert kato.session_of(state).time == 5


@pytest.mark.parametrize("fault", Fault)
def test_clear_with_fault_is_applied(fault: Fault) -> None:
    """A clear with a fault may be applied twice; the counter is 0 in the end."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    player.play(execute_write(api, state, kato.clock.now + 90.0, writes.clear_stm()))
    assert kato.session_of(state).stm == []
    result = player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["z"]}))
    )
    assert result["time"] == kato.session_of(state).time == 1


@pytest.mark.parametrize("fault", [Fault.HANG_UNREAD, Fault.HANG_READ])
@pytest.mark.parametrize("later", [1, 2, 5])
def test_late_write_reaches_a_session_that_was_left(fault: Fault, later: int) -> None:
    """A write that was given up on lands after later ones, in a session that is not used any more:
    nothing has to be repaired."""
    kato = ModelKato(hangs_for=10_000.0)
    player, api, state = opened(kato)
    kato.faults = [fault]
    symbols = ["c", *(f"later-{number}" for number in range(later))]
    for symbol in symbols:
        player.play(
            execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": [symbol]}))
        )
    kato.wake()
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["last"]}))
    )
    assert kato.session_of(state).stm == [*FIRST, *([symbol] for symbol in symbols), ["last"]]
    assert (state.moves, state.repairs) == (1, 0)
    stm = player.play(reading.stm(api, state, kato.clock.now + 90.0))
    assert stm == kato.session_of(state).stm


def test_loss_of_a_full_store_is_repaired() -> None:
    """What a full store acknowledged and lost is restored once it accepts writes again."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.store = "full"
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )  # a false 200
    assert kato.session_of(state).stm == FIRST
    kato.store = "up"
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["d"]}))
    )
    assert kato.session_of(state).stm == [*FIRST, ["c"], ["d"]]


def test_flushed_store_is_replayed() -> None:
    """A session that is really gone is reopened and its journal replayed, without an error."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.lose_sessions()
    result = player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )
    assert kato.session_of(state).stm == [*FIRST, ["c"]]
    assert result["time"] == 3
    assert state.reopened == 1


def test_store_down_is_not_a_lost_session() -> None:
    """While the store is down KATO's 404 is not trusted; later the same session continues."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.store = "down"
    session_id = state.id
    answer = kato.answer

    def up_after_5_s(send: object) -> object:
        if player.clock.now > 5.0:
            kato.store = "up"
        return answer(send)  # type: ignore[arg-type]

    player.answer = up_after_5_s  # type: ignore[assignment]
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )
    assert state.id == session_id
    assert kato.session_of(state).stm == [*FIRST, ["c"]]


def test_unsettled_outcome_is_reported_and_settled_later() -> None:
    """If the store fails before the read, the error says so, and the next call settles it."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [Fault.LOST_ANSWER]
    answer = kato.answer

    def down_after_the_write(send: object) -> object:
        outcome = answer(send)  # type: ignore[arg-type]
        kato.store = "down"
        return outcome

    player.answer = down_after_the_write  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown) as caught:
        player.play(
            execute_write(api, state, kato.clock.now + 10.0, writes.observe({"strings": ["c"]}))
        )
    assert caught.value.sent
    assert caught.value.safe_to_resend is None
    assert "Its outcome could not be read" in str(caught.value)
    player.answer = answer
    kato.store = "up"
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["d"]}))
    )
    assert kato.session_of(state).stm == [*FIRST, ["c"], ["d"]]


def test_replay_timeout_grows_with_the_journal() -> None:
    """The timeout of a replay grows with the number of observations."""
    kato = ModelKato()
    player, api, state = opened(kato)
    for number in range(98):
        write = writes.observe({"strings": [f"e{number}"]})
        player.play(execute_write(api, state, kato.clock.now + 90.0, write))
    kato.lose_sessions()
    player.steps.clear()
    player.play(reading.stm(api, state, kato.clock.now + 90.0))
    replay = next(send for send in player.sent if b'"e97"' in send.body)
    assert replay.timeout == 1.0 + 100 * 0.05
