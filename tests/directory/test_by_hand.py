"""A release by hand: which entry is written, and when none is."""

from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from kato_consul._directory.by_hand import release_by_hand, session_entry
from kato_consul._directory.directory import Directory, Held, LeaseLost, Stored
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease
from kato_consul._flow import Flow
from tests.flows import Player

OWNED = Entry(key="k", owner="a", owner_label="h:1", epoch=4, revision=9, id="kato-1", time=3)
HANDED_OVER = msgspec.structs.replace(OWNED, revision=10, released=True)


@dataclass
class OneEntry:
    """A directory with one entry, whose owner leaves it as ``before`` when it is asked."""

    stored: Stored | None
    before: Entry | None = None
    lost: bool = False
    released: list[Entry] = field(default_factory=list)

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """Flow: return the entry."""
        yield from ()
        return self.stored

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: acquire it at once."""
        yield from ()
        entry = (self.before or Entry(key=key)).acquired_by("me", "h:2")
        return Held(entry, Lease(), None), self.before

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: record what is written."""
        yield from ()
        if self.lost:
            raise LeaseLost
        held.entry = entry
        self.released.append(entry)


def release(directory: OneEntry) -> Stored | None:
    """Release the session by hand."""
    flow = release_by_hand(cast(Directory, directory), "k", 0.0)
    return Player(cast(Any, None)).play(flow)


@pytest.mark.parametrize("stored", [None, Stored(OWNED, False), Stored(HANDED_OVER, False)])
def test_nothing_is_written_without_an_owner(stored: Stored | None) -> None:
    """There is no entry, or no process owns it: it stays as it is."""
    directory = OneEntry(stored)
    assert release(directory) == stored
    assert directory.released == []


@pytest.mark.parametrize("before", [HANDED_OVER, OWNED])
def test_what_the_next_owner_has_to_do_stays_the_same(before: Entry) -> None:
    """In order if the owner has handed it over, and a takeover if it died meanwhile."""
    directory = OneEntry(Stored(OWNED, True), before)
    found = release(directory)
    (written,) = directory.released
    assert found == Stored(written, False)
    assert written.released is before.released
    assert (written.id, written.time, written.epoch) == ("kato-1", 3, before.epoch + 1)
    assert written.revision == before.revision + 2


def test_an_entry_that_is_lost_meanwhile_is_not_in_order() -> None:
    """What is made anew in its place says nothing about the session."""
    directory = OneEntry(Stored(OWNED, True), before=None)
    release(directory)
    assert [entry.released for entry in directory.released] == [False]


def test_another_process_was_faster() -> None:
    """The lease was lost between the two steps: the owner has given it up all the same."""
    directory = OneEntry(Stored(OWNED, True), HANDED_OVER, lost=True)
    assert release(directory) == directory.stored
    assert directory.released == []


def test_value_has_no_content() -> None:
    """Observations, configuration, metadata and keys of calls are not shown."""
    entry = msgspec.structs.replace(
        OWNED,
        journal=({"strings": ["secret"]},),
        config={"secret": 1},
        metadata={"secret": 1},
        written_at=1.0,
    )
    shown = session_entry(Stored(entry, True))
    assert "secret" not in repr(shown)
    assert (shown.owner, shown.written_at, shown.expires_at) == ("h:1", 1.0, None)
    assert session_entry(Stored(Entry(key="k"), False)).age is None
