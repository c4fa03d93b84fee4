"""Every fault on every kind of write: applied exactly once, whatever is cut, hung or lost."""

import pytest

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
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
        player.play(execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": event})))
    return player, api, state


@pytest.mark.parametrize("fault", Fault)
def test_observe(fault: Fault) -> None:
    """An observation that meets a fault is there once, and the answer tells the right counter."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    result = player.play(
        execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )
    assert result["time"] == 3
    assert result["stm_length"] == 3
    assert kato.only_session().stm == [*FIRST, ["c"]]
    assert kato.only_session().time == 3
    assert state.pending is None


@pytest.mark.parametrize("fault", Fault)
def test_observe_without_symbols(fault: Fault) -> None:
    """An observation that only the counter shows is settled by the counter."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    result = player.play(
        execute(api, state, kato.clock.now + 90.0, writes.observe({"emotives": {"joy": 1.0}}))
    )
    assert result["time"] == kato.only_session().time == 3
    assert len(kato.only_session().emotives) == 1


@pytest.mark.parametrize("fault", Fault)
def test_observe_sequence(fault: Fault) -> None:
    """A sequence that meets a fault is there once and whole."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    events = [["c"], [], ["d"]]
    write = writes.observe_sequence([{"strings": event} for event in events])
    result = player.play(execute(api, state, kato.clock.now + 90.0, write))
    assert [one["time"] for one in result["results"]] == [3, 4, 5]
    assert kato.only_session().stm == [*FIRST, ["c"], ["d"]]
    assert kato.only_session().time == 5


@pytest.mark.parametrize("fault", Fault)
def test_learn(fault: Fault) -> None:
    """A lesson that meets a fault is learned once: its frequency is 1."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    player.play(execute(api, state, kato.clock.now + 90.0, writes.learn()))
    kato.wake()
    assert list(kato.patterns.values()) == [1]
    assert kato.only_session().stm == []


@pytest.mark.parametrize("fault", Fault)
def test_clear(fault: Fault) -> None:
    """Clearing is repeated without harm; the counter starts again."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [fault]
    player.play(execute(api, state, kato.clock.now + 90.0, writes.clear_stm()))
    assert kato.only_session().stm == []
    result = player.play(
        execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["z"]}))
    )
    assert result["time"] == kato.only_session().time == 1


@pytest.mark.parametrize("fault", [Fault.HANG_UNREAD, Fault.HANG_READ])
@pytest.mark.parametrize("later", [1, 2, 5])
def test_late_landing_is_repaired(fault: Fault, later: int) -> None:
    """A hung write that lands after others went on is found at the next call and put right."""
    kato = ModelKato(hangs_for=10_000.0)
    player, api, state = opened(kato)
    kato.faults = [fault]
    told = ["c", *(f"later-{number}" for number in range(later))]
    for symbol in told:
        player.play(
            execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": [symbol]}))
        )
    kato.wake()
    player.play(execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["last"]})))
    assert kato.only_session().stm == [*FIRST, *([one] for one in told), ["last"]]
    assert state.repairs == 1
    assert player.play(reading.stm(api, state, kato.clock.now + 90.0)) == kato.only_session().stm


def test_store_full_is_noticed_and_made_good() -> None:
    """What a full store acknowledged and lost is put back once the store takes writes again."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.store = "full"
    player.play(
        execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )  # a false 200
    assert kato.only_session().stm == FIRST
    kato.store = "up"
    player.play(execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["d"]})))
    assert kato.only_session().stm == [*FIRST, ["c"], ["d"]]


def test_flushed_store_is_replayed() -> None:
    """A session that is really gone is made anew, with its journal; the caller sees nothing."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.lose_sessions()
    result = player.play(
        execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]}))
    )
    assert kato.only_session().stm == [*FIRST, ["c"]]
    assert result["time"] == 3
    assert state.reopened == 1


def test_store_down_is_not_a_lost_session() -> None:
    """While the store is away KATO's 404 is not believed; afterwards the same session goes on."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.store = "down"
    session = state.id
    answer = kato.answer

    def back_after_a_while(send: object) -> object:
        if player.clock.now > 5.0:
            kato.store = "up"
        return answer(send)  # type: ignore[arg-type]

    player.answer = back_after_a_while  # type: ignore[assignment]
    player.play(execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["c"]})))
    assert state.id == session
    assert kato.only_session().stm == [*FIRST, ["c"]]


def test_unsettled_outcome_tells_what_is_known() -> None:
    """If the store goes away with an outcome open, the error says so; the next call settles it."""
    kato = ModelKato()
    player, api, state = opened(kato)
    kato.faults = [Fault.LOST_ANSWER]
    answer = kato.answer

    def away_after_the_write(send: object) -> object:
        outcome = answer(send)  # type: ignore[arg-type]
        kato.store = "down"
        return outcome

    player.answer = away_after_the_write  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown) as caught:
        player.play(execute(api, state, kato.clock.now + 10.0, writes.observe({"strings": ["c"]})))
    assert caught.value.sent
    assert caught.value.safe_to_resend is None
    assert "Reading it back" in str(caught.value)
    player.answer = answer
    kato.store = "up"
    player.play(execute(api, state, kato.clock.now + 90.0, writes.observe({"strings": ["d"]})))
    assert kato.only_session().stm == [*FIRST, ["c"], ["d"]]


def test_a_long_replay_is_given_time() -> None:
    """The more observations a session is put back with, the longer the attempt may take."""
    kato = ModelKato()
    player, api, state = opened(kato)
    for number in range(98):
        write = writes.observe({"strings": [f"e{number}"]})
        player.play(execute(api, state, kato.clock.now + 90.0, write))
    kato.lose_sessions()
    player.steps.clear()
    player.play(reading.stm(api, state, kato.clock.now + 90.0))
    replay = next(send for send in player.sent if b'"e97"' in send.body)
    assert replay.timeout == 1.0 + 100 * 0.05
