"""Calls with an idempotency key, after hand-overs and takeovers between two owners."""

from functools import partial
from typing import Any

from kato_consul._kato import repeatable, writes
from kato_consul._kato.execute import execute_write
from kato_consul.errors import ValidationFailed
from tests.owning.model_directory import ModelStore
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
    plain = partial(execute_write, write=writes.observe({"strings": ["plain"]}))
    assert isinstance(outcome(one, refused), ValidationFailed)
    assert outcome(two, plain, one)["time"] == 1
    store.expire("two")
    assert isinstance(outcome(one, refused), ValidationFailed)
