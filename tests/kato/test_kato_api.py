"""Answers that are not KATO's words, and writes that nobody can tell the outcome of."""

from typing import Any

import pytest

from kato_consul._flow import Outcome
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import open_session
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.writes import clear_stm
from kato_consul._requests.failover import Request
from kato_consul.errors import KatoAnswerError, OutcomeUnknown, ServerFailed
from tests.building import hung, reply
from tests.requests.calling import Calling

READ = Request("stm", "GET", "/stm", repeatable=True, needs=("stm", "session_id"))
WRITE = Request("observe", "POST", "/observe", b"{}", needs=("time",))

STRANGE = [
    reply(200, b""),
    reply(200, b"<html>hello</html>"),
    reply(200, None),
    reply(200, [1]),
    reply(200, "okay"),
    reply(200, {"hello": 1}),
    reply(204),
]


def ask(request: Request, *outcomes: Outcome) -> Any:
    """What KATO's answer is read as."""
    calling = Calling(*outcomes)
    flow = KatoApi(calling.failover, 10.0).call(request, calling.clock() + 30.0)
    return calling.player.play(flow)[0]


@pytest.mark.parametrize("outcome", [*STRANGE, reply(200, {"stm": []})])
def test_strange_answer_to_a_read(outcome: Outcome) -> None:
    """A success without what its answer must have is somebody else's, and an error of ours."""
    with pytest.raises(ServerFailed, match="not KATO's words"):
        ask(READ, outcome)


@pytest.mark.parametrize("outcome", STRANGE)
def test_strange_answer_to_a_write(outcome: Outcome) -> None:
    """Whoever answered so did who knows what with a write: its outcome is unknown."""
    with pytest.raises(OutcomeUnknown, match="not KATO's words"):
        ask(WRITE, outcome)


def test_good_answer() -> None:
    """An answer with all that it needs is read, with whatever it has beside."""
    found = {"stm": [], "session_id": "session-1", "more": 1}
    assert ask(READ, reply(200, found)) == found


def test_errors_need_nothing() -> None:
    """An error of KATO's is read as one, though it has nothing that a good answer must have."""
    with pytest.raises(KatoAnswerError) as caught:
        ask(READ, reply(422, {"detail": [{"loc": ["body"]}]}))
    assert (caught.value.status, caught.value.detail) == (422, [{"loc": ["body"]}])


def test_open_at_somebody_elses() -> None:
    """A session is not opened by an answer that names none."""
    calling = Calling(reply(200, {"hello": 1}))
    state = SessionState("me", "me")
    with pytest.raises(ServerFailed, match="open session"):
        calling.player.play(
            open_session(KatoApi(calling.failover, 10.0), state, calling.clock() + 5.0)
        )
    assert state.id is None


def test_hung_clear_stays_pending() -> None:
    """A clear that nobody answered is told as unknown, and left for the next call to settle."""
    calling = Calling(*[hung()] * 9)
    state = SessionState("me", "me", id="session-1")
    state.journal.observed({"strings": ["a"]})
    with pytest.raises(OutcomeUnknown, match="The session's next call settles it"):
        calling.player.play(
            execute(KatoApi(calling.failover, 10.0), state, calling.clock() + 30.0, clear_stm())
        )
    assert state.pending is not None
