"""Replacement: a session is continued in another one, which is complete before it is used."""

from collections import Counter
from typing import Any

import pytest

from kato_consul._flow import Reply, Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.configuration import set_config
from kato_consul._kato.execute import execute_write, settle
from kato_consul._kato.journal import MAX_ENTRIES
from kato_consul._kato.replacement import MAX_TRIES
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import (
    KatoConsulError,
    NoResponse,
    OutcomeUnknown,
    SessionConflict,
    StoreUnavailable,
)
from tests.building import cut
from tests.kato.model_kato import Fault, ModelKato, playing


class Client:
    """A session in which "a", "b" and "c" were observed."""

    def __init__(self, **config: Any) -> None:
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", metadata={"who": "me"}, ttl=1234)
        self.state.journal.config = config
        self.observe("a", "b", "c")

    def observe(self, *symbols: str) -> None:
        """Observe each symbol as an event of its own."""
        for symbol in symbols:
            self.play(execute_write, write=writes.observe({"strings": [symbol]}))

    def play(self, flow: Any, within: float = 30.0, **arguments: Any) -> Any:
        """Run a flow with a deadline."""
        deadline = self.kato.clock.now + within
        return self.player.play(flow(self.api, self.state, deadline, **arguments), most=5_000)

    def stm(self, session_id: str | None = None) -> list[str]:
        """The symbols that KATO has, in the current session or in another one."""
        return [symbol for (symbol,) in self.kato.sessions[session_id or str(self.state.id)].stm]

    def lose_last_event(self) -> None:
        """Drop the last observation, as a full store does."""
        session = self.kato.session_of(self.state)
        session.time -= 1
        session.stm.pop()


@pytest.mark.parametrize("cause", ["loss", "late write"])
def test_cancelled_replacement_loses_nothing(cause: str) -> None:
    """Wherever it is given up, the session has all that it had, and the next call completes it."""
    steps = 0
    while True:
        steps += 1
        client = Client()
        before = client.state.id
        if cause == "loss":
            client.lose_last_event()
        else:
            client.kato.faults = [Fault.HANG_READ]
        kept = client.stm(before)
        write = writes.observe({"strings": ["d"]})
        flow = execute_write(client.api, client.state, client.kato.clock.now + 30.0, write)
        try:
            step = next(flow)
            for _ in range(steps):
                step = flow.send(client.kato.answer(step) if isinstance(step, Send) else None)
        except StopIteration:
            assert steps > 5
            return
        flow.close()
        left = client.stm(before) if before in client.kato.sessions else client.stm()
        assert left[: len(kept)] == kept
        client.kato.wake()
        client.observe("e")
        assert [symbol for symbol in client.stm() if symbol != "d"] == ["a", "b", "c", "e"]
        assert client.stm().count("d") <= 1


def test_replacement_is_bounded_and_pauses() -> None:
    """A store that acknowledges and saves nothing gets a few sessions, with pauses between."""
    client = Client()
    client.lose_last_event()
    answer = client.kato.answer

    def forgetful(send: Send) -> Any:
        outcome = answer(send)
        if send.target.endswith("/observe-sequence"):
            client.kato.sessions[f"session-{client.kato.created}"].stm.clear()
        return outcome

    client.player.answer = forgetful
    client.player.steps.clear()
    with pytest.raises(StoreUnavailable, match="not saved"):
        client.play(reading.stm)
    created = [send for send in client.player.sent if send.target == "/sessions"]
    assert len(created) == MAX_TRIES
    assert len(client.player.slept) == MAX_TRIES - 1
    assert client.stm() == ["a", "b"]  # as before


def test_instance_without_an_answer_to_the_replay_is_not_a_store_that_is_down() -> None:
    """The error says what is known: which instance did not answer, and to what."""
    client = Client()
    client.lose_last_event()
    answer = client.kato.answer

    def silent(send: Send) -> Any:
        return cut() if send.target.endswith("/observe-sequence") else answer(send)

    client.player.answer = silent
    with pytest.raises(NoResponse, match=r"restoring the session: observe_sequence of 3 on") as ex:
        client.play(reading.stm)
    assert "Redis" not in str(ex.value)
    assert client.stm() == ["a", "b"]  # as before


@pytest.mark.parametrize("mode", ["CLEAR", "ROLLING"])
def test_replay_under_a_lowered_length_learns_nothing(mode: str) -> None:
    """What was not learned when it was observed is not learned when it is restored."""
    client = Client()
    client.play(set_config, values={"max_pattern_length": 2, "stm_mode": mode})
    client.kato.lose_sessions()
    assert client.play(reading.stm) == [["a"], ["b"], ["c"]]
    assert not client.kato.patterns
    assert client.kato.session_of(client.state).config["max_pattern_length"] == 2
    client.observe("d")
    assert dict(client.kato.patterns) == {(("a",), ("b",), ("c",), ("d",)): 1}


def test_lost_session_without_a_complete_journal_is_told_once() -> None:
    """It is not replayed in part, and not tried again: the next call goes on."""
    client = Client()
    client.play(execute_write, write=observe_sequence([{"emotives": {"joy": 1.0}}] * MAX_ENTRIES))
    assert not client.state.journal.complete
    client.kato.lose_sessions()
    client.player.steps.clear()
    with pytest.raises(SessionConflict):
        client.observe("d")
    assert len(client.player.sent) < 10
    client.observe("e")
    assert client.stm() == ["e"]


def test_session_that_was_left_is_deleted() -> None:
    """It would otherwise hold its memory until it expires."""
    client = Client()
    before = client.state.id
    client.kato.faults = [Fault.LOST_REQUEST]
    client.observe("d")
    assert client.state.id != before
    assert list(client.kato.sessions) == [client.state.id]


def test_attached_session_that_was_left_is_kept() -> None:
    """It was created by another client, which may still use it."""
    client = Client()
    state = SessionState("you", "you", attach_id=str(client.state.id))
    client.state, attached = state, client.state
    client.kato.faults = [Fault.LOST_REQUEST]
    client.observe("d")
    assert client.stm(attached.id) == ["a", "b", "c"]
    assert client.stm() == ["a", "b", "c", "d"]


def test_attached_session_is_opened_again_as_it_was() -> None:
    """Node, configuration, metadata and time to live are those of the session that was lost."""
    client = Client(max_pattern_length=7)
    client.state = SessionState("you", "you", attach_id=str(client.state.id))
    client.play(reading.stm)
    client.kato.lose_sessions()
    client.player.steps.clear()
    assert client.play(reading.stm) == [["a"], ["b"], ["c"]]
    (created,) = [send.body for send in client.player.sent if send.target == "/sessions"]
    assert b'"node_id":"node"' in created
    assert b'"max_pattern_length":7' in created
    assert b'"who":"me"' in created
    assert b'"ttl_seconds":1234' in created


def test_clear_that_was_denied_is_not_carried_out_later() -> None:
    """The session was lost, and the store took no other one: the clear is not applied."""
    client = Client()
    client.kato.lose_sessions()
    client.kato.store = "full"
    answer = client.kato.answer

    def slowly(send: Send) -> Any:
        client.kato.clock.advance(0.01)
        return answer(send)

    client.player.answer = slowly
    with pytest.raises(StoreUnavailable):
        client.play(execute_write, write=writes.clear_stm())
    client.kato.store = "up"
    assert client.play(reading.stm) == [["a"], ["b"], ["c"]]


def test_sessions_that_vanish_get_pauses() -> None:
    """An evicting store does not get sessions without a pause, or without an end."""
    client = Client()
    answer = client.kato.answer
    uses: Counter[str] = Counter()

    def evicting(send: Send) -> Any:
        session_id = send.target.split("/")[2] if send.target.count("/") > 1 else ""
        uses[session_id] += 1
        if uses[session_id] > 2:  # filled and verified, and gone
            client.kato.sessions.pop(session_id, None)
        return answer(send)

    client.player.answer = evicting
    with pytest.raises(KatoConsulError):
        for _ in range(5):
            client.play(reading.predictions)
    assert client.kato.created < 200


@pytest.mark.parametrize("status", [200, 403])
def test_answer_of_a_gateway_during_a_replacement_is_no_refusal(status: int) -> None:
    """A configuration that something before KATO has refused once is not given up."""
    client = Client()
    client.play(set_config, values={"max_pattern_length": 3})
    client.kato.lose_sessions()
    answer = client.kato.answer
    odd = [Reply(status, {"content-type": "text/html"}, b"<html>")]

    def gateway(send: Send) -> Any:
        if send.method == "POST" and send.target.endswith("/config") and odd:
            return odd.pop()
        return answer(send)

    client.player.answer = gateway
    assert client.play(reading.stm) == [["a"], ["b"], ["c"]]
    assert client.kato.session_of(client.state).config["max_pattern_length"] == 3
    client.observe("d")
    assert client.stm() == []


@pytest.mark.parametrize("applied", [True, False])
def test_delete_without_an_answer_is_settled(applied: bool) -> None:
    """The error does not deny it, and `settle` returns what is so."""
    client = Client()
    answer = client.kato.answer

    def no_answer(send: Send) -> Any:
        if send.method != "DELETE":
            return answer(send)
        client.kato.clock.advance(0.1)
        if applied:
            answer(send)
        return cut()

    client.player.answer = no_answer
    with pytest.raises(OutcomeUnknown):
        client.play(reading.delete)
    client.player.answer = answer
    assert client.play(settle) is applied
    assert client.play(reading.stm) == ([] if applied else [["a"], ["b"], ["c"]])


@pytest.mark.parametrize("applied", [True, False])
def test_cancelled_delete_is_settled(applied: bool) -> None:
    """A session that a cancelled delete has deleted does not come back."""
    client = Client()
    flow = reading.delete(client.api, client.state, client.kato.clock.now + 30.0)
    step = next(flow)
    assert isinstance(step, Send)
    if applied:
        client.kato.answer(step)
    flow.close()
    client.observe("d")
    assert client.stm() == (["d"] if applied else ["a", "b", "c", "d"])


@pytest.mark.parametrize("status", [301, 307, 403, 404, 405, 408, 413])
@pytest.mark.parametrize("applied", [True, False])
def test_answer_of_a_gateway_is_settled(status: int, applied: bool) -> None:
    """What stands before KATO may have forwarded the write that it answers with an error."""
    client = Client()
    answer = client.kato.answer

    def gateway(send: Send) -> Any:
        if not send.target.endswith("/observe"):
            return answer(send)
        if applied:
            answer(send)
        return Reply(status, {"content-type": "text/html"}, b"<html>")

    client.player.answer = gateway
    if applied:
        client.observe("d")
    else:
        with pytest.raises(KatoConsulError) as caught:
            client.observe("d")
        assert caught.value.sent
    client.player.answer = answer
    assert client.play(reading.stm) == [["a"], ["b"], ["c"], *([["d"]] if applied else [])]
