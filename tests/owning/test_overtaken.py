"""Calls of an owner that is stopped at one step, is overtaken by another owner, and goes on.

The property test of two owners does the same at random; here are the steps that it seldom meets.
"""

from typing import Any

import pytest

from kato_consul._directory.entry import MAX_CUTS
from kato_consul._kato import reads
from kato_consul._kato.execute import settle_call
from kato_consul._kato.learning import learn
from kato_consul.errors import OutcomeUnknown
from tests.kato.model_kato import Fault
from tests.owning.overtaking import Overtaken, observe


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


def test_write_that_goes_on_after_an_earlier_one_was_found_in_the_cut(overtaken: Overtaken) -> None:
    """The cut shows the earlier write, whose call was cancelled. This one is not sent yet."""
    overtaken.kato.faults = [Fault.LOST_ANSWER]
    overtaken.begin(observe("earlier"))
    overtaken.one.stop_before("POST", "/observe")
    overtaken.one.step()
    overtaken.one.cancel()
    overtaken.begin(observe("z"))
    overtaken.one.stop_before("GET", "/cognition-data")
    overtaken.overtake("y")
    overtaken.go_on()
    assert overtaken.memory() == [["x"], ["earlier"], ["y"], ["z"]]


def test_learn_that_its_instance_ends_during_the_takeover(overtaken: Overtaken) -> None:
    """The cut waits for that instance, so it shows that the memory was learned."""
    overtaken.hang(learn, "/learn")
    overtaken.store.expire("one")
    read: list[Any] = []
    overtaken.two.call(reads.stm, lambda result, error: read.append(error or result))
    overtaken.two.stop_before("POST", "/observe-sequence")
    overtaken.kato.wake()
    overtaken.two.finish([])
    assert read == [[]]
    assert list(overtaken.kato.patterns) == [(("x",),)]


def test_learn_that_may_come_late_is_not_made_by_the_next_owner(overtaken: Overtaken) -> None:
    """The same memory would be learned twice."""
    overtaken.hang(learn, "/learn")
    overtaken.store.expire("one")
    assert isinstance(overtaken.of_two(learn), OutcomeUnknown)
    overtaken.kato.wake()
    assert dict(overtaken.kato.patterns) == {(("x",),): 1}


@pytest.mark.parametrize("in_order", [True, False])
def test_learn_that_may_come_late_is_not_made_by_an_owner_after_the_next_one(
    overtaken: Overtaken, in_order: bool
) -> None:
    """Each owner tells the next one, whether it hands the session over or dies."""
    overtaken.hang(learn, "/learn")
    overtaken.one.cancel()
    overtaken.store.expire("one")
    assert overtaken.of_two(reads.stm) == [["x"]]
    if not in_order:
        overtaken.store.expire("two")
    overtaken.one.forget()
    assert isinstance(overtaken.call(learn), OutcomeUnknown)
    overtaken.kato.wake()
    assert dict(overtaken.kato.patterns) == {(("x",),): 1}


def test_owner_that_was_stopped_for_more_takeovers_than_have_a_cut(overtaken: Overtaken) -> None:
    """The first cut after its write is not kept any more, and a later one does not decide."""
    overtaken.kato.faults = [Fault.LOST_ANSWER]
    overtaken.begin(observe("late"))
    overtaken.one.stop_before("POST", "/observe")
    overtaken.one.step()
    for number in range(MAX_CUTS + 1):
        overtaken.overtake(f"y{number}")
        overtaken.store.expire("two")
        overtaken.two.forget()
    assert isinstance(overtaken.go_on(), OutcomeUnknown)
    assert overtaken.memory()[:3] == [["x"], ["late"], ["y0"]]
    assert len(overtaken.memory()) == MAX_CUTS + 3


def test_nothing_more_is_sent_under_a_lost_lease(overtaken: Overtaken) -> None:
    """The second attempt of a write that is not applied is made once the session is owned again."""
    overtaken.kato.faults = [Fault.LOST_REQUEST]
    overtaken.begin(observe("z"))
    overtaken.one.stop_before("DELETE", f"/{overtaken.one.state.id}")
    overtaken.overtake("y")
    before = overtaken.kato.requests.count(("POST", "observe"))
    assert overtaken.go_on()["time"] == 3
    assert overtaken.kato.requests.count(("POST", "observe")) == before + 1
    assert overtaken.memory() == [["x"], ["y"], ["z"]]
