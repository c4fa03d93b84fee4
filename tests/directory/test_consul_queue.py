"""The queue in Consul's KV store, as tables: whose turn it is, and what became of a write."""

import msgspec
import pytest

from kato_consul._consul.kv_api import Record
from kato_consul._directory.consul_keys import LONGEST_NAME, Keys, waiter_nonce
from kato_consul._directory.consul_queue import (
    Fate,
    Move,
    fate_of_write,
    next_move,
    read_queue,
)
from kato_consul._directory.entry import Entry

PLACE = Keys("kato").place("user-1")
MINE, THEIRS, NONE = "session-mine", "session-theirs", ""
OWN = PLACE.waiter("me", 1)


def entry(session: str) -> Record:
    """Return the record of an entry that a Consul session has locked."""
    return Record(PLACE.entry, b"{}", session, 1, 9)


def waiter(nonce: str, index: int, session: str = THEIRS) -> Record:
    """Return the record of a waiter."""
    return Record(PLACE.waiter(nonce, 1), b"", session, index, index)


ME = waiter("me", 5, MINE)

MOVES: list[tuple[list[Record], Move, str]] = [
    # No entry, or one that is free: it is acquired, unless others came first.
    ([], Move.ACQUIRE, ""),
    ([entry(NONE)], Move.ACQUIRE, ""),
    ([entry(NONE), ME], Move.ACQUIRE, ""),
    ([entry(NONE), ME, waiter("z", 6)], Move.ACQUIRE, ""),
    ([ME, waiter("z", 6)], Move.ACQUIRE, ""),
    ([entry(NONE), waiter("a", 4)], Move.JOIN, ""),
    ([waiter("a", 4)], Move.JOIN, ""),
    ([entry(NONE), waiter("a", 4), ME], Move.WAIT, "a"),
    # It is owned: join, and wait for the one before.
    ([entry(THEIRS)], Move.JOIN, ""),
    ([entry(THEIRS), waiter("a", 4)], Move.JOIN, ""),
    ([entry(THEIRS), ME], Move.WAIT, "entry"),
    ([entry(THEIRS), ME, waiter("z", 6)], Move.WAIT, "entry"),
    ([entry(THEIRS), waiter("a", 4), ME], Move.WAIT, "a"),
    ([entry(THEIRS), waiter("b", 4), waiter("a", 3), ME, waiter("z", 6)], Move.WAIT, "b"),
    # Waiters whose Consul session has ended do not count.
    ([entry(NONE), waiter("a", 4, NONE)], Move.ACQUIRE, ""),
    ([entry(NONE), waiter("a", 4, NONE), ME], Move.ACQUIRE, ""),
    ([entry(THEIRS), waiter("a", 3), waiter("b", 4, NONE), ME], Move.WAIT, "a"),
    # This one's own: it joins again.
    ([entry(THEIRS), waiter("me", 5, NONE)], Move.JOIN, ""),
    # A lock of this process from a call without an answer: all others wait for it.
    ([entry(MINE)], Move.ACQUIRE, ""),
    ([entry(MINE), waiter("a", 4)], Move.ACQUIRE, ""),
    ([entry(MINE), waiter("a", 4), ME], Move.ACQUIRE, ""),
]


@pytest.mark.parametrize(("records", "move", "blocker"), MOVES)
def test_next_move(records: list[Record], move: Move, blocker: str) -> None:
    """Each state of the queue has one next move, whatever the order of its records."""
    for order in (records, records[::-1]):
        found, key = next_move(read_queue(PLACE, order, 9), OWN, MINE)
        assert found is move
        expected = PLACE.entry if blocker == "entry" else PLACE.waiter(blocker, 1)
        assert (key.key if key else "") == (expected if blocker else "")


def test_waiters_that_are_gone_are_known() -> None:
    """Their keys are removed by the next owner."""
    queue = read_queue(PLACE, [waiter("a", 3, NONE), waiter("b", 4), waiter("c", 5, NONE)], 9)
    assert queue.left == (PLACE.waiter("a", 1), PLACE.waiter("c", 1))
    assert [one.key for one in queue.waiters] == [PLACE.waiter("b", 1)]


BEFORE = Entry(key="user-1", owner="me", epoch=4, revision=7)
AFTER = msgspec.structs.replace(BEFORE, revision=8, id="id")


def found(value: Entry | bytes, session: str) -> Record:
    """Return the record of an entry as it is after a write without an answer."""
    data = value.encode() if isinstance(value, Entry) else value
    return Record(PLACE.entry, data, session, 1, 12)


FATES: list[tuple[Record | None, Fate]] = [
    (found(AFTER, MINE), Fate.APPLIED),
    (found(AFTER, NONE), Fate.APPLIED),  # a release, or the Consul session has ended since
    (found(BEFORE, MINE), Fate.REPEAT),
    (found(BEFORE, NONE), Fate.LOST),
    (found(BEFORE, THEIRS), Fate.LOST),
    (found(msgspec.structs.replace(BEFORE, id="by hand"), MINE), Fate.REPEAT),
    (found(b"by hand", MINE), Fate.REPEAT),
    (found(b"by hand", NONE), Fate.LOST),
    (found(BEFORE.acquired_by("me", "here:1"), MINE), Fate.LOST),  # a later call of this process
    (found(BEFORE.acquired_by("other", "there:2"), THEIRS), Fate.LOST),
    (None, Fate.LOST),
]


@pytest.mark.parametrize(("record", "fate"), FATES)
def test_fate_of_a_write(record: Record | None, fate: Fate) -> None:
    """The entry shows what became of a write that was refused or not answered."""
    assert fate_of_write(record, AFTER.encode(), BEFORE, MINE) is fate


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("user-1", "user-1"),
        ("a/b", "a%2Fb"),
        ("ü", "%C3%BC"),
        ("%2F", "%252F"),
        ("sha256:00", "sha256%3A00"),
    ],
)
def test_keys_are_quoted(key: str, name: str) -> None:
    """A key is one part of the path, and no two keys have the same one."""
    place = Keys("kato").place(key)
    assert place.entry == f"kato-consul/kato/sessions/{name}/entry"
    assert waiter_nonce(place.waiter("n0", 3)) == "n0"


@pytest.mark.parametrize("key", [".", "..", "x" * (LONGEST_NAME + 1), "ü" * 100])
def test_keys_that_no_path_can_hold_are_digests(key: str) -> None:
    """A long key, and one that servers change in the path of a URL, is replaced by its digest."""
    name = Keys("kato").place(key).name
    assert name.startswith("sha256:")
    assert len(name) < LONGEST_NAME
