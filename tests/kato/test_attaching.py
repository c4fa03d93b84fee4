"""Going on with a session that is there already."""

import pytest

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import SessionGone
from tests.kato.model_kato import ModelKato, playing


def test_goes_on() -> None:
    """Counter and memory are taken over, and what comes then is observed exactly once."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node")
    for symbol in ("a", "b"):
        write = writes.observe({"strings": [symbol]})
        player.play(execute(api, state, kato.clock.now + 90.0, write))

    other = SessionState("you", "you", attach=str(state.id))
    write = writes.observe({"strings": ["c"]})
    found = player.play(execute(api, other, kato.clock.now + 90.0, write))
    assert (found["time"], found["stm_length"]) == (3, 3)
    assert (other.id, other.node_id) == (state.id, "node")
    assert player.play(reading.stm(api, other, kato.clock.now + 90.0)) == [["a"], ["b"], ["c"]]
    assert other.repairs == 0


def test_gone() -> None:
    """One that KATO does not have is an error, each time, and opens none."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node", attach="session-0-1")
    for _ in range(2):
        with pytest.raises(SessionGone):
            player.play(reading.stm(api, state, kato.clock.now + 90.0))
        assert state.id is None
    assert not kato.sessions
