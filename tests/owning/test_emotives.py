"""Emotives and metadata that a takeover cannot restore: `SessionFacts` says so."""

import pytest

from kato_consul._directory.entry import MAX_JOURNAL_BYTES
from kato_consul._kato import repeatable, writes
from kato_consul._kato.types import Observation
from tests.owning.calling import Calls, observe, write
from tests.owning.two_owners import CallFlow

TOO_LONG = "x" * MAX_JOURNAL_BYTES
"""An entry does not have it."""


def with_emotives(symbol: str, key: str | None = None, *, text: str = "") -> CallFlow:
    """Return a call that observes a symbol with emotives and metadata."""
    observation: Observation = {
        "strings": [symbol],
        "emotives": {"utility": 0.5},
        "metadata": {"text": text},
    }
    return repeatable.observe(observation, key, None)


def is_told(calls: Calls) -> bool:
    """Return whether B, which takes over, tells it."""
    calls.lose(calls.a)
    assert calls.symbols(calls.b)
    return calls.b.state.facts().replayed_without_emotives


def test_the_entry_is_written_for_another_reason() -> None:
    """The entry with the key is written before the second observation, and has the first one."""
    calls = Calls()
    calls.call(calls.a, with_emotives("a"))
    calls.call(calls.a, with_emotives("b", "k"))
    assert is_told(calls)


@pytest.mark.parametrize("keeps_observations", [True, False])
def test_they_were_lost_at_a_hand_over(keeps_observations: bool) -> None:
    """The entry has no observations, so that the next owner has read the memory from KATO. When it
    has written the entry anew, this does not look complete."""
    calls = Calls()
    for owner in (calls.a, calls.b):
        owner.owned._keeps_observations = keeps_observations
    calls.call(calls.b, with_emotives("a", text=TOO_LONG))
    calls.call(calls.a, observe("b"))
    calls.call(calls.a, write(writes.extend(100)))
    assert is_told(calls)


def test_they_were_cleared_after_a_hand_over() -> None:
    """Nothing is lost then."""
    calls = Calls()
    calls.call(calls.b, with_emotives("a", text=TOO_LONG))
    calls.call(calls.a, write(writes.clear_stm()))
    calls.call(calls.a, observe("b"))
    assert not is_told(calls)
