"""Calls of an owner that is stopped at one step, is overtaken by another owner, and goes on.

The property test of two owners does the same at random; here are the steps that it seldom meets.
"""

from functools import partial
from typing import Any

import pytest

from kato_consul._kato import reads, writes
from kato_consul._kato.execute import execute_write, settle_call
from kato_consul._kato.learning import learn
from kato_consul.errors import OutcomeUnknown
from tests.kato.model_kato import Fault, ModelKato
from tests.owning.model_directory import ModelStore
from tests.owning.two_owners import CallFlow, OneOwner


class Overtaken:
    """Two owners. What the first one did last is in ``outcome``: its result, or its error."""

    def __init__(self) -> None:
        self.kato = ModelKato()
        self.store = ModelStore(self.kato.clock)
        # What was left stays in KATO, so that a late write lands in it.
        self.one, self.two = (
            OneOwner(name, self.kato, self.store, deletes=False) for name in ("one", "two")
        )
        self.outcome: Any = None

    def begin(self, flow: CallFlow) -> None:
        """Let the first owner begin a call."""
        self.one.call(flow, self._ended)

    def call(self, flow: CallFlow) -> Any:
        """Let the first owner make a call, and return its outcome."""
        self.begin(flow)
        return self.go_on()

    def overtake(self, symbol: str) -> None:
        """Stop the first owner; the second one takes over and observes."""
        self.store.expire("one")
        outcomes: list[Any] = []
        self.two.call(observe(symbol), lambda result, error: outcomes.append(error or result))
        self.two.finish([])
        assert "time" in outcomes.pop()

    def go_on(self) -> Any:
        """Let the first owner go on to the end of its call, and return its outcome."""
        self.one.finish([self.two])
        return self.outcome

    def hang(self, flow: CallFlow, path: str) -> None:
        """Let the first owner begin a call whose request hangs in its instance, unread."""
        self.kato.faults = [Fault.HANG_UNREAD]
        self.begin(flow)
        self.one.stop_before("POST", path)
        self.one.step()

    def memory(self) -> list[list[str]]:
        """Return what the first owner reads."""
        result: list[list[str]] = self.call(reads.stm)
        return result

    def _ended(self, result: Any, error: BaseException | None) -> None:
        self.outcome = result if error is None else error


def observe(symbol: str) -> CallFlow:
    """Return the flow of a call that observes a symbol."""
    return partial(execute_write, write=writes.observe({"strings": [symbol]}))


@pytest.fixture
def overtaken() -> Overtaken:
    """Two owners; the first one has observed x."""
    result = Overtaken()
    assert result.call(observe("x"))["time"] == 1
    return result


def test_read_that_is_answered_too_late(overtaken: Overtaken) -> None:
    """It has what the other owner's caller was told before the answer."""
    overtaken.begin(reads.stm)
    overtaken.one.stop_before("GET", "/stm")
    overtaken.overtake("y")
    assert overtaken.go_on() == [["x"], ["y"]]


def test_write_that_lands_before_it_is_settled_and_after_the_cut(overtaken: Overtaken) -> None:
    """It landed in the session that was left, so it is not applied."""
    overtaken.hang(observe("late"), "/observe")
    overtaken.one.cancel()
    overtaken.begin(settle_call)
    overtaken.one.stop_before("GET", "/cognition-data")
    overtaken.overtake("y")
    overtaken.kato.wake()
    assert overtaken.go_on() is False
    assert overtaken.memory() == [["x"], ["y"]]


def test_learn_that_lands_before_it_is_settled_and_after_the_cut(overtaken: Overtaken) -> None:
    """The memory was not emptied in the session that goes on: the call is not acknowledged."""
    overtaken.hang(learn, "/learn")
    overtaken.one.cancel()
    overtaken.begin(settle_call)
    overtaken.one.stop_before("GET", "/cognition-data")
    overtaken.overtake("y")
    overtaken.kato.wake()
    assert overtaken.kato.patterns.total() == 1
    assert isinstance(overtaken.go_on(), OutcomeUnknown)
    assert overtaken.memory() == [["x"], ["y"]]


def test_learn_without_an_answer_is_not_sent_again_for_another_memory(overtaken: Overtaken) -> None:
    """It may still be applied to the node, and one call would have taught it two patterns."""
    overtaken.hang(learn, "/learn")
    overtaken.overtake("y")
    assert isinstance(overtaken.go_on(), OutcomeUnknown)
    overtaken.kato.wake()
    assert list(overtaken.kato.patterns) == [(("x",),)]
    assert overtaken.memory() == [["x"], ["y"]]
