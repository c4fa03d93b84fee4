"""Responses that are not KATO's, and writes with an unknown outcome."""

from typing import Any

import pytest

from kato_consul._flow import Outcome
from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import open_session
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.writes import clear_stm
from kato_consul._requests.request import Request
from kato_consul.errors import KatoAnswerError, NoInstances, OutcomeUnknown, ServerFailed
from tests.building import hung, reply
from tests.requests.scripted_service import ScriptedService

READ = Request("stm", "GET", "/stm", repeatable=True, needs=("stm", "session_id"))
WRITE = Request("observe", "POST", "/observe", b"{}", needs=("time",))

FOREIGN = [
    reply(200, b""),
    reply(200, b"<html>hello</html>"),
    reply(200, None),
    reply(200, [1]),
    reply(200, "okay"),
    reply(200, {"hello": 1}),
    reply(204),
]


def call(request: Request, *outcomes: Outcome) -> Any:
    """Return the decoded response of a call with these outcomes."""
    calling = ScriptedService(*outcomes)
    flow = KatoApi(calling.failover, 10.0).call(request, calling.clock() + 30.0)
    return calling.player.play(flow)[0]


def test_instance_that_is_not_listed() -> None:
    """The error has the ids that there are."""
    calling = ScriptedService()
    flow = KatoApi(calling.failover, 10.0).call_instance(READ, "kato-9", calling.clock() + 30.0)
    with pytest.raises(
        NoInstances, match="does not list 'kato-9'; it lists 'kato-1', 'kato-2', 'kato-3'"
    ):
        calling.player.play(flow)


@pytest.mark.parametrize("outcome", [*FOREIGN, reply(200, {"stm": []})])
def test_foreign_response_to_a_read_raises(outcome: Outcome) -> None:
    """A success without the required fields is not KATO's: it raises an error."""
    with pytest.raises(ServerFailed, match="not a KATO response"):
        call(READ, outcome)


@pytest.mark.parametrize("outcome", FOREIGN)
def test_foreign_response_to_a_write_is_unknown(outcome: Outcome) -> None:
    """A proxy that answers for KATO may have forwarded the write: its outcome is unknown."""
    with pytest.raises(OutcomeUnknown, match="not a KATO response"):
        call(WRITE, outcome)


def test_response_with_all_required_fields_is_returned() -> None:
    """A response with the required fields is returned whole, with additional fields."""
    response = {"stm": [], "session_id": "session-1", "more": 1}
    assert call(READ, reply(200, response)) == response


def test_error_needs_no_required_fields() -> None:
    """KATO's error is decoded as one, without the fields that a success must have."""
    with pytest.raises(KatoAnswerError) as caught:
        call(READ, reply(422, {"detail": [{"loc": ["body"]}]}))
    assert (caught.value.status, caught.value.detail) == (422, [{"loc": ["body"]}])


def test_open_session_fails_without_a_session_id() -> None:
    """A response without a session id does not open a session."""
    calling = ScriptedService(reply(200, {"hello": 1}))
    state = SessionState("me", "me")
    with pytest.raises(ServerFailed, match="opening the session"):
        calling.player.play(
            open_session(KatoApi(calling.failover, 10.0), state, calling.clock() + 5.0)
        )
    assert state.id is None


def test_hung_clear_stays_pending() -> None:
    """A clear without a response raises `OutcomeUnknown`, and the next call settles it."""
    calling = ScriptedService(*[hung()] * 9)
    journal = Journal(session_id="session-1").observed({"strings": ["a"]})
    state = SessionState("me", "me", journal=journal)
    with pytest.raises(OutcomeUnknown, match="Call settle\\(\\) next"):
        calling.player.play(
            execute_write(
                KatoApi(calling.failover, 10.0), state, calling.clock() + 30.0, clear_stm()
            )
        )
    assert state.pending is not None
