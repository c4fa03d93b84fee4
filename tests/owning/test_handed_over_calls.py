"""Calls with an idempotency key, after hand-overs and takeovers between two owners."""

from typing import Any

from kato_consul._kato import repeatable
from kato_consul.errors import ValidationFailed
from tests.owning.model_directory import ModelStore
from tests.owning.overtaking import observe
from tests.owning.repeated_world import REFUSED, RefusingKato
from tests.owning.two_owners import CallFlow, OneOwner


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
