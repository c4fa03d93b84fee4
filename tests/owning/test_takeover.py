"""Takeovers: what of the entry is still in KATO's memory."""

from typing import Any

import pytest

from kato_consul._directory.entry import Entry
from kato_consul._kato import reads, repeatable
from kato_consul._kato.learning import learn
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.types import Observation
from kato_consul._owning.entry_state import found
from tests.owning.calling import Calls, observe, write


def vectors(numbers: list[float]) -> Any:
    """Return a call that observes a vector."""
    return repeatable.observe({"vectors": [numbers]}, None, None)


@pytest.mark.parametrize("forget", ["learn", "sequence"])
def test_vectors_that_are_not_in_the_memory_any_more(forget: str) -> None:
    """The entry has two, and they were learned or cleared since. The memory is what was observed
    after that, and they are not there again."""
    calls = Calls()
    calls.call(calls.a, vectors([1.0, 2.0]))
    calls.call(calls.a, vectors([3.0, 4.0]))
    calls.call(calls.b, reads.stm)  # the entry has what is handed over
    if forget == "learn":
        calls.call(calls.b, learn)
        calls.call(calls.b, observe("x"))
    else:
        cleared: list[Observation] = [{"strings": [symbol]} for symbol in "cdx"]
        calls.call(calls.b, write(observe_sequence(cleared, clear_stm_between=True)))
    calls.call(calls.b, observe("y"))
    calls.lose(calls.b)
    assert calls.call(calls.a, reads.stm) == [["x"], ["y"]]


def test_vectors_that_are_in_the_memory() -> None:
    """They are observed again as vectors."""
    calls = Calls()
    calls.call(calls.a, vectors([1.0, 2.0]))
    calls.call(calls.b, observe("b"))
    calls.call(calls.a, observe("x"))
    memory = calls.call(calls.a, reads.stm)
    calls.lose(calls.a)
    assert calls.call(calls.b, reads.stm) == memory
    assert calls.b.state.journal.entries[0].get("vectors")


UTILITY = {"strings": ["a"], "emotives": {"utility": 0.5}}


@pytest.mark.parametrize(
    ("time", "stm", "emotives", "lossy"),
    [
        pytest.param(7, [["a"]], True, False, id="as it was"),
        pytest.param(9, [["a"], ["b"], ["c"]], True, False, id="others after it"),
        pytest.param(9, [["a"], ["b"]], False, True, id="learned, and an equal one since"),
        pytest.param(8, [["b"]], False, True, id="learned"),
        pytest.param(2, [["a"]], False, True, id="KATO has lost something"),
    ],
)
def test_emotives_of_the_entry(
    time: int, stm: list[list[str]], emotives: bool, lossy: bool
) -> None:
    """They are those of its observations, if these are certainly still in the memory."""
    entry = Entry(key="user", id="session", time=7, events=1, journal=(UTILITY,))
    journal, misses = found(entry, time, stm)
    assert journal.stm == stm
    assert any(one.get("emotives") for one in journal.entries) == emotives
    assert misses == lossy
