"""Conflicts of sessions with several owners: each is told to one caller, and none is reported that
is only the trace of a takeover."""

from typing import Any

import pytest

from kato_consul._kato import reads, repeatable, writes
from kato_consul._kato.learning import learn
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.types import Observation
from kato_consul.errors import SessionConflict
from kato_consul.web.response import error_response
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe, write


@pytest.mark.parametrize("next_one", ["A", "B"])
def test_found_at_a_hand_over(next_one: str) -> None:
    """The owner reads the memory before it hands the session over, since KATO may not have saved
    what it learned. It finds what a foreign writer has observed: the next call raises it."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, learn)
    session = calls.kato.only_session()
    session.stm.append(["foreign"])
    session.time += 1
    calls.begin(calls.b, reads.exists)
    calls.end(calls.b)
    owner = calls.a if next_one == "A" else calls.b
    with pytest.raises(SessionConflict) as caught:
        calls.call(owner, observe("x"))
    assert caught.value.found_stm == [["foreign"], ["x"]]


@pytest.mark.parametrize("flow", [reads.stm, observe("x"), learn], ids=["stm", "observe", "learn"])
def test_a_session_that_the_next_owner_has_left(flow: Any) -> None:
    """The journal does not hold all events, so that a session which is gone is a conflict. This one
    is gone since B has continued it in another one."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    without_symbols: list[Observation] = [{"strings": []}] * 2_000
    calls.call(calls.a, write(observe_sequence(without_symbols)))
    assert not calls.a.state.journal.complete
    calls.begin(calls.a, flow)
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    calls.end(calls.a)
    learned = [] if flow is learn else ["a", "b", "x"][: 2 + (flow is not reads.stm)]
    assert calls.symbols(calls.b) == learned


def test_a_session_that_the_next_owner_has_not_left() -> None:
    """B adopts what others do, so that it goes on in the same session."""
    calls = Calls()
    calls.b.state.on_conflict = "adopt"
    calls.call(calls.a, observe("a"))
    calls.begin(calls.a, reads.stm)
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    assert calls.end(calls.a) == [["a"], ["b"]]


@pytest.mark.parametrize("empties", [writes.clear_stm, writes.clear_all])
@pytest.mark.parametrize("learned", [False, True])
def test_a_memory_that_is_cleared(empties: Any, learned: bool) -> None:
    """A is cancelled when KATO has cleared it, and hands the session over without knowing that."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    if learned:
        calls.call(calls.a, learn)
        calls.call(calls.a, reads.stm)
    calls.kato.faults = [Fault.LOST_ANSWER]
    calls.begin(calls.a, write(empties()))
    calls.step_until(calls.a, lambda send: "/clear" in send.target)
    calls.a.step()
    calls.a.cancel()
    calls.call(calls.b, observe("b"))
    assert calls.symbols(calls.b) == ["b"]


@pytest.mark.parametrize(
    ("count", "chunk", "outcome", "applied"),
    [(5, 2, "partly_applied", 4), (4, 2, "applied", 4), (2, 2, "applied", 2)],
)
def test_long_sequence(count: int, chunk: int, outcome: str, applied: int) -> None:
    """The answer to a part of it is lost, and a foreign writer has observed something before the
    memory is read: that part counts."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    events: list[Observation] = [{"strings": [f"e{number}"]} for number in range(count)]
    sequence = repeatable.observe_sequence(
        events,
        None,
        None,
        chunk=chunk,
        learn_after_each=False,
        learn_at_end=False,
        clear_stm_between=False,
        progress=None,
    )
    calls.begin(calls.a, sequence)
    for number in range(min(2, count // chunk)):
        calls.step_until(calls.a, lambda send: send.target.endswith("/observe-sequence"))
        if number == min(2, count // chunk) - 1:
            calls.kato.faults = [Fault.LOST_ANSWER]
        calls.a.step()
    session = calls.kato.only_session()
    session.stm.append(["foreign"])
    session.time += 1
    calls.a.finish([calls.b])
    error = calls.error_of(calls.a)
    assert isinstance(error, SessionConflict)
    body = error_response(error).body
    assert (body["outcome"], error.applied) == (outcome, applied)
    assert len(session.stm) == 1 + applied + 1


def test_long_sequence_with_a_key() -> None:
    """A is stopped after the first part. B has gone on, and so has a foreign writer: the error
    tells how much is in the session, and a repetition makes the rest."""
    calls = Calls()
    without_symbols: list[Observation] = [{"strings": []}] * 2_000
    calls.call(calls.a, write(observe_sequence(without_symbols)))
    sequence = repeatable.observe_sequence(
        [{"strings": [f"e{number}"]} for number in range(3)],
        "k",
        None,
        chunk=2,
        learn_after_each=False,
        learn_at_end=False,
        clear_stm_between=False,
        progress=None,
    )
    calls.begin(calls.a, sequence)
    calls.step_until(calls.a, lambda send: send.target.endswith("/observe-sequence"))
    calls.a.step()
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    session = calls.kato.sessions[calls.b.state.id or ""]
    session.stm.append(["foreign"])
    session.time += 1
    calls.a.finish([calls.b])
    error = calls.error_of(calls.a)
    assert isinstance(error, SessionConflict)
    in_kato = [event for (event,) in calls.kato.session_of(calls.a.state).stm]
    assert error.applied == sum(event.startswith("e") for event in in_kato)
    assert bool(error.call_applied) == (error.applied == 3)
    calls.call(calls.b, sequence)
    assert sorted(calls.symbols(calls.a)) == ["b", "e0", "e1", "e2", "foreign"]
