"""Learning under every fault: exactly as often as the caller asked, or the caller is told."""

from typing import Any

import pytest

from kato_consul._flow import Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write, settle
from kato_consul._kato.learning import learn
from kato_consul._kato.pattern import pattern_name
from kato_consul._kato.sequence_chunks import observe_chunks
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import (
    BadRequest,
    OutcomeUnknown,
    PatternNotStored,
    RequestNotSent,
    StoreUnavailable,
)
from tests.building import cut, refused, reply
from tests.kato.model_kato import SERVER_ERROR, Fault, ModelKato, playing

AB = (("a",), ("b",))

LEARNED_OF_NEW = {
    Fault.NOT_SENT,
    Fault.LIMIT,
    Fault.LOST_ANSWER,
    Fault.HALF_ANSWER,
    Fault.GATEWAY_TIMEOUT,
    Fault.CRASH,
    Fault.HANG_APPLIED,
    Fault.HANG_UNREAD,  # it resumes after 20 s, within the deadline
    Fault.HANG_READ,
}
"""Faults after which the first learn of a pattern is known to be applied."""

LEARNED_OF_KNOWN = {
    *LEARNED_OF_NEW,
    Fault.SERVER_ERROR,
    Fault.COUNTED,
    Fault.COUNTED_WITHOUT_ROW,
}
"""The same for a pattern that was learned before: its frequency tells whether it was learned."""


class Client:
    """A session in which "a" and "b" were observed."""

    def __init__(self, *, owns_node: bool = True, known: bool = False, **config: Any) -> None:
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", owns_node=owns_node)
        self.state.journal.config = config
        self.observe("a", "b")
        if known:
            self.learn()
            self.observe("a", "b")

    def observe(self, *symbols: str) -> None:
        """Observe each symbol as an event of its own."""
        for symbol in symbols:
            self.play(execute_write, write=writes.observe({"strings": [symbol]}))

    def learn(self) -> Any:
        """Learn the memory."""
        return self.play(learn)

    def play(self, flow: Any, **arguments: Any) -> Any:
        """Run a flow with a deadline of 60 s."""
        deadline = self.kato.clock.now + 60.0
        return self.player.play(flow(self.api, self.state, deadline, **arguments), most=5_000)

    @property
    def stm(self) -> list[str]:
        """The symbols in KATO's memory."""
        return [symbol for (symbol,) in self.kato.session_of(self.state).stm]

    def sent(self, path: str) -> int:
        """How many requests of this kind were sent."""
        return sum(send.target.endswith(path) for send in self.player.sent)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("fault", Fault)
def test_learn_is_applied_once_or_its_caller_is_told(fault: Fault, known: bool) -> None:
    """A learn is sent again only where KATO proves that it was not applied."""
    client = Client(known=known)
    client.kato.faults = [fault]
    if fault in (LEARNED_OF_KNOWN if known else LEARNED_OF_NEW):
        assert client.learn()["status"] == "learned"
        client.kato.wake()
        assert client.kato.patterns[AB] == 1 + known
        assert client.stm == []
        assert client.state.pending is None
    else:
        with pytest.raises(OutcomeUnknown):
            client.learn()
        client.kato.wake()
        assert client.kato.patterns[AB] in (known, 1 + known)


def test_a_rising_frequency_proves_nothing_if_others_teach_the_node() -> None:
    """Another session may have learned the same pattern: the caller is told."""
    client = Client(owns_node=False, known=True)
    client.kato.faults = [Fault.COUNTED]
    with pytest.raises(OutcomeUnknown):
        client.learn()
    assert client.kato.patterns[AB] == 2


@pytest.mark.parametrize("store", ["ClickHouse", "Redis"])
def test_a_frequency_that_kato_could_not_read_is_not_0(store: str) -> None:
    """KATO returns "not found", or 0, while a store is away: a later 1 is no rise."""
    client = Client(known=True)
    answer = client.kato.answer

    def away(send: Any) -> Any:
        if send.target.endswith("/learn"):
            client.player.answer = answer
            return cut()
        if not send.target.startswith("/pattern/"):
            return answer(send)
        found: Any = {"status": "error", "message": "not found"}
        if store == "Redis":
            found = {"status": "okay", "pattern": {"name": "PTRN|", "frequency": 0}}
        return reply(200, {"pattern": found})

    client.player.answer = away
    with pytest.raises(OutcomeUnknown):
        client.learn()
    assert client.kato.patterns[AB] == 1


def test_a_learn_that_was_applied_after_all_is_the_result_of_the_next() -> None:
    """A caller that repeats a learn without an outcome gets the outcome."""
    client = Client()
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [Fault.HANG_READ]
    with pytest.raises(OutcomeUnknown):
        client.learn()
    client.kato.wake()
    assert client.learn()["status"] == "learned"
    assert client.kato.patterns[AB] == 1
    with pytest.raises(BadRequest):
        client.learn()


@pytest.mark.parametrize("fault", [Fault.HANG_READ, Fault.HANG_UNREAD, Fault.LOST_REQUEST])
def test_the_same_memory_is_not_learned_again_while_a_learn_may_come(fault: Fault) -> None:
    """`settle` does not say False, and a second learn is not sent, whatever is read between."""
    client = Client()
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [fault]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            client.learn()
        with pytest.raises(OutcomeUnknown):
            client.play(settle)
    assert client.play(reading.stm) == [["a"], ["b"]]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            client.learn()
        with pytest.raises(OutcomeUnknown):
            client.play(settle)
    assert client.sent("/learn") == 1
    client.kato.wake()
    assert client.kato.patterns[AB] <= 1


@pytest.mark.parametrize("fault", [Fault.HANG_READ, Fault.HANG_UNREAD])
def test_a_late_learn_meets_no_later_observation(fault: Fault) -> None:
    """The session goes on elsewhere: a late learn neither learns nor removes what came after it."""
    client = Client()
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [fault]
    with pytest.raises(OutcomeUnknown) as caught:
        client.learn()
    assert caught.value.pattern == "PTRN|" + pattern_name([["a"], ["b"]])
    client.observe("c", "d")
    client.kato.wake()
    assert set(client.kato.patterns) <= {AB}
    assert client.stm == ["a", "b", "c", "d"]
    client.learn()
    assert client.kato.patterns[(*AB, ("c",), ("d",))] == 1


def test_a_new_memory_with_the_same_events_is_learned() -> None:
    """After a clear the caller has observed anew: that it learns is asked for, and done."""
    client = Client()
    client.kato.faults = [Fault.LOST_REQUEST]
    with pytest.raises(OutcomeUnknown):
        client.learn()
    client.play(execute_write, write=writes.clear_stm())
    client.observe("a", "b")
    client.learn()
    assert client.kato.patterns[AB] == 1


def test_a_404_does_not_deny_a_learn() -> None:
    """A learn that is answered with 404 is not repeated, though the session exists."""
    client = Client()
    answer = client.kato.answer

    def learned_and_404(send: Any) -> Any:
        outcome = answer(send)
        if send.target.endswith("/learn"):
            client.kato.lose_sessions()
            outcome = answer(send)
        return outcome

    client.player.answer = learned_and_404
    with pytest.raises(OutcomeUnknown):
        client.learn()
    assert client.sent("/learn") == 1
    assert client.kato.patterns[AB] == 1


def test_an_acknowledged_learn_that_was_not_saved_is_no_conflict() -> None:
    """KATO ignores that its store refused the session. The memory is put right by the next call."""
    client = Client()
    client.kato.saves = False
    client.learn()
    client.kato.saves = True
    assert client.stm == ["a", "b"]
    client.observe("c")
    assert client.stm == ["c"]
    assert client.kato.patterns[AB] == 1
    assert client.state.repairs == 1


def test_an_acknowledged_learn_that_was_not_saved_is_not_repeated() -> None:
    """The memory is empty for the client: a second learn has nothing to learn."""
    client = Client()
    client.kato.saves = False
    client.learn()
    client.kato.saves = True
    with pytest.raises(BadRequest):
        client.learn()
    assert client.kato.patterns[AB] == 1


def test_a_pattern_without_a_row_is_reported() -> None:
    """A pattern that an interrupted learn has counted gets no row by a second learn."""
    client = Client()
    client.kato.faults = [Fault.COUNTED_WITHOUT_ROW]
    with pytest.raises(OutcomeUnknown):
        client.learn()
    client.play(execute_write, write=writes.clear_stm())
    client.observe("a", "b")
    with pytest.raises(PatternNotStored) as caught:
        client.learn()
    assert caught.value.pattern.startswith("PTRN|")
    client.observe("c")
    assert client.stm == ["c"]


def test_a_row_that_is_inserted_late_is_waited_for() -> None:
    """ClickHouse inserts asynchronously: a pattern is not reported before it could be there."""
    client = Client()
    client.kato.faults = [Fault.LOST_REQUEST]
    with pytest.raises(OutcomeUnknown):
        client.learn()
    client.play(execute_write, write=writes.clear_stm())
    client.observe("a", "b")
    answer = client.kato.answer
    learned_at: float | None = None

    def late(send: Any) -> Any:
        nonlocal learned_at
        if send.target.endswith("/learn"):
            learned_at = client.kato.clock.now
            client.kato.writes_rows = False
        if learned_at is not None and client.kato.clock.now > learned_at + 0.2:
            client.kato.rows.add(AB)
        return answer(send)

    client.player.answer = late
    assert client.learn()["status"] == "learned"


def test_learn_is_not_sent_while_the_pattern_store_does_not_respond() -> None:
    """A first learn would be counted and get no row."""
    client = Client()
    answer = client.kato.answer

    def without_clickhouse(send: Any) -> Any:
        client.kato.clock.advance(0.01)
        return SERVER_ERROR if send.target.startswith("/pattern/") else answer(send)

    client.player.answer = without_clickhouse
    with pytest.raises(StoreUnavailable, match="ClickHouse"):
        client.learn()
    assert not client.sent("/learn")
    client.player.answer = answer
    client.learn()
    assert client.kato.patterns[AB] == 1


@pytest.mark.parametrize("fault", Fault)
def test_learn_at_end_is_applied_once_or_its_caller_is_told(fault: Fault) -> None:
    """The observations of a sequence are applied once, whatever happens to the learn after them."""
    client = Client()
    answer = client.kato.answer

    def with_fault(send: Any) -> Any:
        if send.target.endswith("/learn") and client.sent("/learn") == 1:
            client.kato.faults = [fault]
        return answer(send)

    client.player.answer = with_fault
    events = writes_of("c", "d")
    if fault in LEARNED_OF_NEW:
        result = client.play(observe_chunks, observations=events, learn_at_end=True)
        assert result["final_stm_length"] == 0
        assert client.stm == []
    else:
        with pytest.raises(OutcomeUnknown) as caught:
            client.play(observe_chunks, observations=events, learn_at_end=True)
        assert caught.value.applied == 2
    client.kato.wake()
    assert client.kato.patterns[(*AB, ("c",), ("d",))] <= 1


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("kind", ["observe", "learn_after_each"])
def test_what_learns_beside_observing_is_applied_once_or_its_caller_is_told(
    kind: str, fault: Fault
) -> None:
    """An observation that makes KATO learn by itself, and ``learn_after_each``."""
    client = Client(max_pattern_length=3 if kind == "observe" else 0)
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [fault]
    try:
        if kind == "observe":
            client.observe("c")
        else:
            client.play(observe_chunks, observations=writes_of("c"), learn_after_each=True)
    except OutcomeUnknown:
        client.observe("d")
    else:
        assert client.kato.patterns[(*AB, ("c",))] == 1
        assert client.stm == []
    client.kato.wake()
    assert all(frequency == 1 for frequency in client.kato.patterns.values())


def test_error_of_a_partly_applied_sequence_says_where_to_continue() -> None:
    """The call as a whole is not safe to resend, whatever its last part met."""
    client = Client()
    answer = client.kato.answer

    def refusing_the_second(send: Any) -> Any:
        return refused() if b'"d"' in send.body else answer(send)

    client.player.answer = refusing_the_second
    with pytest.raises(RequestNotSent) as caught:
        client.play(observe_chunks, observations=writes_of("c", "d"), chunk=1)
    error = caught.value
    assert (error.applied, error.sent, error.safe_to_resend) == (1, True, False)
    assert error.__notes__ == ["1 of 2 events are applied; continue with events[error.applied:]"]


def test_clear_all_is_not_sent_again() -> None:
    """One that lands late would delete what was learned after it."""
    client = Client()
    client.kato.hangs_for = 10_000.0
    client.kato.faults = [Fault.HANG_UNREAD]
    with pytest.raises(OutcomeUnknown):
        client.play(execute_write, write=writes.clear_all())
    assert client.sent("/clear-all") == 1


@pytest.mark.parametrize("kind", ["learn", "observe"])
def test_a_memory_that_kato_did_not_empty_is_not_learned_again(kind: str) -> None:
    """A learn was acknowledged and not saved. The next observation would complete a pattern of
    what was learned already."""
    client = Client(max_pattern_length=3)
    client.kato.saves = False
    if kind == "learn":
        client.learn()
    else:
        client.observe("c")
    client.kato.saves = True
    learned = dict(client.kato.patterns)
    client.observe("d")
    assert client.stm == ["d"]
    assert dict(client.kato.patterns) == learned
    assert client.state.repairs == 1


@pytest.mark.parametrize("shared", ["attached", "named"])
def test_a_node_that_another_session_may_teach_is_not_the_sessions_own(shared: str) -> None:
    """The frequency of a pattern may have risen by the other session."""
    client = Client()
    if shared == "attached":
        client.state = SessionState("you", "you", owns_node=True, attach_id=str(client.state.id))
        client.play(reading.stm)
    else:
        client.state.nodes.add("another key", "node", {})
    answer = client.kato.answer

    def other_learns(send: Any) -> Any:
        if not send.target.endswith("/learn"):
            return answer(send)
        client.kato.patterns[AB] += 1
        client.kato.rows.add(AB)
        return cut()

    client.player.answer = other_learns
    with pytest.raises(OutcomeUnknown):
        client.learn()


def test_a_learn_that_was_cancelled_before_it_was_sent_can_be_sent() -> None:
    """Nothing of it can come late."""
    client = Client()
    flow = learn(client.api, client.state, client.kato.clock.now + 60.0)
    step = next(flow)
    while True:
        if not isinstance(step, Send):
            break  # the pause after a round in which all instances refused
        refuses = step.target.endswith("/learn")
        step = flow.send(refused() if refuses else client.kato.answer(step))
    flow.close()
    assert client.play(settle) is None
    client.learn()
    assert client.kato.patterns[AB] == 1


def writes_of(*symbols: str) -> Any:
    """Return observations of one symbol each."""
    return [{"strings": [symbol]} for symbol in symbols]
