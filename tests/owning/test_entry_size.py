"""Size of an entry: bounded, whatever callers give and do."""

import uuid
from typing import Any

import pytest

from kato_consul._directory.entry import (
    MAX_ALIASES,
    MAX_ANSWER_BYTES,
    MAX_CUTS,
    MAX_GIVEN_BYTES,
    MAX_JOURNAL_BYTES,
    MAX_KEYS,
    MAX_POSITIONS,
    Cut,
    Entry,
    KeyRecord,
    LogPosition,
    Mark,
    check_given,
)
from kato_consul._kato.journal import Journal
from kato_consul._kato.log_positions import MAX_LOG_LENGTH
from kato_consul._kato.repeatable import MAX_KEY_LENGTH
from kato_consul._kato.session_state import SessionState
from kato_consul._owning.entry_state import next_entry
from kato_consul.errors import ConfigurationError

CONSULS_LIMIT = 512 * 1024
CLAIMED = 128 * 1024


def test_largest_entry() -> None:
    """With every part at its limit, an entry is within what is claimed, and Consul's limit."""
    answer = {"message": "x" * (MAX_ANSWER_BYTES - 14)}
    ids = tuple(f"session-{uuid.uuid4().hex}-1234567890123" for _ in range(MAX_ALIASES))
    big = 2**53
    entry = Entry(
        key="k",
        owner="o" * 32,
        owner_label="host:1",
        metadata={"given": "x" * (MAX_GIVEN_BYTES - 30)},
        journal=({"strings": ["x" * (MAX_JOURNAL_BYTES - 20)]},),
        aliases=ids,
        id=ids[0],
        cuts=tuple(Cut(big, big, big, "d" * 16) for _ in range(MAX_CUTS)),
        keys=tuple(
            KeyRecord(f"{n:0{MAX_KEY_LENGTH}}", "r" * 32, time=big, events=big, answer=answer)
            for n in range(MAX_KEYS)
        ),
        positions=tuple(LogPosition("l" * MAX_LOG_LENGTH, n, big) for n in range(MAX_POSITIONS)),
        mark=Mark("observe_sequence of 1000", big, big, "i" * 128, "p" * 40, big),
    )
    assert len(entry.encode()) < CLAIMED < CONSULS_LIMIT


@pytest.mark.parametrize("kept", [True, False])
def test_observations_beyond_the_limit_are_a_digest(kept: bool) -> None:
    """An entry has the observations while they are small, and otherwise only their digest."""
    journal = Journal(session_id="s")
    for number in range(10 if kept else 1_000):
        journal = journal.observed({"strings": [f"a-symbol-that-is-long-enough-{number}"]})
    state = SessionState("k", "node")
    entry = next_entry(Entry(key="k"), state, journal, with_observations=True)
    assert (entry.journal is not None) is kept
    assert entry.digest
    assert entry.events == len(journal)


@pytest.mark.parametrize(
    "given",
    [
        {"key": "k" * MAX_GIVEN_BYTES},
        {"metadata": {"a": "x" * MAX_GIVEN_BYTES}},
        {"config": {"a": ["x"] * MAX_GIVEN_BYTES}},
    ],
)
def test_what_is_given_is_limited(given: dict[str, Any]) -> None:
    """A key, metadata or a configuration that is too large is refused; the error is short."""
    parts = {"key": "k", "node_id": "n", "metadata": {}, "config": {}, **given}
    with pytest.raises(ConfigurationError, match="32,768") as caught:
        check_given(**parts)
    assert len(str(caught.value)) < 500
