"""Attaching to a session that exists already."""

import pytest

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import Journal
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import SessionGone
from tests.kato.model_kato import ModelKato, playing


def test_attaching_adopts_counter_and_memory() -> None:
    """Counter and memory are adopted, and later observations are applied exactly once."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node")
    for symbol in ("a", "b"):
        write = writes.observe({"strings": [symbol]})
        player.play(execute_write(api, state, kato.clock.now + 90.0, write))

    other = SessionState("you", "you", attach_id=str(state.id))
    write = writes.observe({"strings": ["c"]})
    result = player.play(execute_write(api, other, kato.clock.now + 90.0, write))
    assert (result["time"], result["stm_length"]) == (3, 3)
    assert (other.id, other.node_id) == (state.id, "node")
    assert player.play(reading.stm(api, other, kato.clock.now + 90.0)) == [["a"], ["b"], ["c"]]
    assert other.repairs == 0


@pytest.mark.parametrize("processes", [True, False])
def test_attached_session_keeps_its_process_predictions(processes: bool) -> None:
    """Attaching does not change it, and a session that is reopened has it again."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node", journal=Journal({"process_predictions": processes}))
    player.play(reading.stm(api, state, kato.clock.now + 90.0))

    other = SessionState("you", "you", attach_id=str(state.id))
    write = writes.observe({"strings": ["a"]})
    player.play(execute_write(api, other, kato.clock.now + 90.0, write))
    assert kato.only_session().config == {"process_predictions": processes}
    kato.lose_sessions()
    assert player.play(reading.stm(api, other, kato.clock.now + 90.0)) == [["a"]]
    assert kato.only_session().config["process_predictions"] == processes


def test_attaching_to_a_missing_session_fails() -> None:
    """Each call raises an error, and no session is created."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node", attach_id="session-0-1")
    for _ in range(2):
        with pytest.raises(SessionGone):
            player.play(reading.stm(api, state, kato.clock.now + 90.0))
        assert state.id is None
    assert not kato.sessions
