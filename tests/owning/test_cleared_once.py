"""A memory that is cleared with an idempotency key, by an owner that dies or loses the session."""

import pytest

from kato_consul._kato import reads, repeatable, writes
from kato_consul._kato.types import Acknowledgement
from kato_consul._kato.write import Write
from kato_consul.errors import OutcomeUnknown
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe

KEY = "clear"
CLEARS = [writes.clear_stm(), writes.clear_all()]


@pytest.mark.parametrize("clear", CLEARS, ids=lambda one: one.what)
@pytest.mark.parametrize("steps", range(4))
def test_repeated_after_the_owner_has_died(clear: Write[Acknowledgement], steps: int) -> None:
    """What another process has observed since is not cleared by the repetition. The owner is lost
    ``steps`` steps after KATO has cleared the memory."""
    calls = Calls()
    calls.call(calls.b, observe("w"))
    calls.call(calls.a, observe("y"))
    calls.begin(calls.a, repeatable.clear(clear, KEY))
    calls.step_until(calls.a, lambda send: send.target.endswith(f"/{clear.path}"))
    calls.a.step()
    for _ in range(steps):
        if calls.a.running is not None:
            calls.a.step()
    calls.lose(calls.a)
    assert calls.alone(calls.b, reads.stm) == []
    calls.alone(calls.b, observe("x"))
    assert calls.alone(calls.b, repeatable.clear(clear, KEY))["status"] == "cleared"
    assert calls.alone(calls.b, reads.stm) == [["x"]]


@pytest.mark.parametrize("clear", CLEARS, ids=lambda one: one.what)
def test_repeated_by_the_same_owner(clear: Write[Acknowledgement]) -> None:
    """Nor by one in the same process."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    first = calls.call(calls.a, repeatable.clear(clear, KEY))
    calls.call(calls.a, observe("x"))
    assert calls.call(calls.a, repeatable.clear(clear, KEY)) == first
    assert calls.symbols(calls.a) == ["x"]


@pytest.mark.parametrize("clear", CLEARS, ids=lambda one: one.what)
def test_owner_that_goes_on(clear: Write[Acknowledgement]) -> None:
    """Nor by an owner that was stopped before the answer, and goes on."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    calls.begin(calls.a, repeatable.clear(clear, KEY))
    calls.step_until(calls.a, lambda send: send.target.endswith(f"/{clear.path}"))
    calls.a.step()
    calls.lose(calls.a)
    calls.alone(calls.b, observe("x"))
    assert calls.end(calls.a)["status"] == "cleared"
    assert calls.call(calls.b, repeatable.clear(clear, KEY))["status"] == "cleared"
    assert calls.symbols(calls.a) == ["x"]


def test_repeated_after_an_unknown_outcome() -> None:
    """A clear that ended without an outcome, and is settled by a later call, is not made again."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    calls.begin(calls.a, repeatable.clear(writes.clear_stm(), KEY))
    calls.step_until(calls.a, lambda send: send.target.endswith("/clear-stm"))
    calls.kato.faults = [Fault.LOST_ANSWER]
    calls.a.step()
    calls.kato.store = "down"
    calls.a.finish([calls.b])
    assert isinstance(calls.error_of(calls.a), OutcomeUnknown)
    calls.kato.store = "up"
    calls.call(calls.a, observe("x"))
    assert calls.call(calls.a, repeatable.clear(writes.clear_stm(), KEY))["status"] == "cleared"
    assert calls.symbols(calls.a) == ["x"]


def test_owner_that_is_stopped_after_it_has_left_the_session() -> None:
    """KATO has not answered the clear, so its owner goes on in a new session, which is empty. The
    entry has the session and the call at once."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    calls.kato.faults = [Fault.HANG_APPLIED]
    calls.begin(calls.a, repeatable.clear(writes.clear_stm(), KEY))
    calls.step_until(calls.a, lambda send: send.method == "DELETE")
    calls.lose(calls.a)
    calls.alone(calls.b, observe("x"))
    assert calls.end(calls.a)["status"] == "cleared"
    assert calls.symbols(calls.b) == ["x"]


def test_owner_that_dies_after_a_later_call() -> None:
    """So it has if a later call of the same owner has found the outcome."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    calls.begin(calls.a, repeatable.clear(writes.clear_stm(), KEY))
    calls.step_until(calls.a, lambda send: send.target.endswith("/clear-stm"))
    calls.kato.faults = [Fault.LOST_ANSWER]
    calls.a.step()
    calls.kato.store = "down"
    calls.a.finish([calls.b])
    assert isinstance(calls.error_of(calls.a), OutcomeUnknown)
    calls.kato.store = "up"
    assert calls.symbols(calls.a) == []
    calls.lose(calls.a)
    calls.alone(calls.b, observe("x"))
    assert calls.alone(calls.b, repeatable.clear(writes.clear_stm(), KEY))["status"] == "cleared"
    assert calls.alone(calls.b, reads.stm) == [["x"]]


@pytest.mark.parametrize("later", [False, True])
def test_new_session_that_is_not_recorded(later: bool) -> None:
    """The owner could not write the entry: the clear counts as applied only when it can."""
    calls = Calls()
    calls.call(calls.a, observe("y"))
    calls.kato.faults = [Fault.HANG_APPLIED]
    calls.begin(calls.a, repeatable.clear(writes.clear_stm(), KEY))
    calls.step_until(calls.a, lambda send: send.method == "POST" and send.target == "/sessions")
    calls.store.down = True
    calls.a.finish([])
    calls.error_of(calls.a)
    calls.store.down = False
    if later:
        calls.call(calls.a, observe("x"))
    assert calls.call(calls.a, repeatable.clear(writes.clear_stm(), KEY))["status"] == "cleared"
    assert calls.symbols(calls.a) == (["x"] if later else [])
