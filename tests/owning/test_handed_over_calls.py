"""Calls with an idempotency key or a position, after hand-overs and takeovers by another owner."""

from functools import partial
from typing import Any

from kato_consul._kato import reads, repeatable
from kato_consul._kato.repeated_calls import position_of
from kato_consul.errors import OutcomeUnknown, ValidationFailed
from kato_consul.models import Position
from tests.kato.model_kato import Fault
from tests.owning.model_directory import ModelStore
from tests.owning.overtaking import clear, observe
from tests.owning.repeated_world import LOG, REFUSED, RefusingKato
from tests.owning.two_owners import KEY, CallFlow, OneOwner


def outcome(owner: OneOwner, flow: CallFlow, *others: OneOwner) -> Any:
    """Make a call to its end, and return its result or its error."""
    outcomes: list[Any] = []
    owner.call(flow, lambda result, error: outcomes.append(error or result))
    owner.finish(others)
    for other in others:
        other.finish([])
    return outcomes.pop()


def test_refused_call_that_is_made_again_after_a_takeover() -> None:
    """What another owner has written since is no sign of the call: it is refused again."""
    kato = RefusingKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store) for name in ("one", "two"))
    refused = repeatable.observe({"strings": [f"{REFUSED}-1"]}, "key", None)
    assert isinstance(outcome(one, refused), ValidationFailed)
    assert outcome(two, observe("plain"), one)["time"] == 1
    store.expire("two")
    assert isinstance(outcome(one, refused), ValidationFailed)


def test_learn_that_another_owner_has_made_meanwhile() -> None:
    """An owner is stopped before it sends a learn. The other one makes the call with this key, and
    observes more. So the first one has nothing to do: it would teach the node another pattern."""
    kato = RefusingKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store) for name in ("one", "two"))
    learn = repeatable.learn("key", None)
    for symbol in ("a", "b"):
        outcome(one, observe(symbol))
    answers: list[Any] = []
    one.call(learn, lambda result, error: answers.append(error or result))
    one.stop_before("GET", "/cognition-data")
    store.expire("one")
    learned = outcome(two, learn)
    outcome(two, observe("c"))
    one.finish([two])
    assert answers == [learned]
    assert list(kato.patterns) == [(("a",), ("b",))]


def test_learn_without_an_answer_that_is_made_again_for_another_memory() -> None:
    """The learn of the key may still be applied to the node, so another owner does not send it."""
    kato = RefusingKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store, deletes=False) for name in ("one", "two"))
    learn = repeatable.learn("key", None)
    outcome(one, observe("a"))
    kato.faults = [Fault.HANG_UNREAD]
    one.call(learn, lambda result, error: None)
    one.stop_before("POST", "/learn")
    one.step()
    store.expire("one")
    outcome(two, observe("b"))
    assert isinstance(outcome(two, learn), OutcomeUnknown)
    kato.wake()
    assert list(kato.patterns) == [(("a",),)]


def test_position_that_a_caller_was_told_is_in_the_entry_and_in_kato() -> None:
    """The caller may forget the log up to there: so what KATO has lost is restored first."""
    kato = RefusingKato()
    store = ModelStore(kato.clock)
    one = OneOwner("one", kato, store)
    for offset, symbol in enumerate("ab"):
        outcome(one, repeatable.observe({"strings": [symbol]}, None, Position(LOG, 0, offset)))
    session = kato.session_of(one.state)
    session.time, session.stm = 1, [["a"]]
    assert outcome(one, partial(position_of, log=LOG)) == Position(LOG, 0, 1)
    assert kato.session_of(one.state).stm == [["a"], ["b"]]
    (position,) = store.entries[KEY].positions
    assert (position.log, position.offset) == (LOG, 1)


def test_message_after_a_clear_that_another_owner_is_given_again() -> None:
    """The counter began anew with the clear, as the entry has it: the message is passed over."""
    kato = RefusingKato()
    store = ModelStore(kato.clock)
    one, two = (OneOwner(name, kato, store) for name in ("one", "two"))
    messages = [
        repeatable.observe({"strings": [symbol]}, None, Position(LOG, 0, offset))
        for offset, symbol in enumerate("abc")
    ]
    for flow in (*messages[:2], clear(), messages[2]):
        outcome(one, flow)
    store.expire("one")
    assert outcome(two, partial(position_of, log=LOG)) == Position(LOG, 0, 1)
    outcome(two, messages[2])
    assert outcome(two, reads.stm) == [["c"]]
