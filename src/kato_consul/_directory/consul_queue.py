"""Queue of a session in Consul's KV store: whose turn it is, and what a refused write means.

Each waiter has a key that its Consul session has locked; `CreateIndex` is the order of arrival. A
waiter whose Consul session has ended does not count. The first waiter waits for the entry, and each
other one for the key of the waiter before it. So a hand-over wakes two of them, however many wait
(as in ZooKeeper's recipe for locks:
https://zookeeper.apache.org/doc/current/recipes.html#sc_recipes_Locks).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from kato_consul._consul.kv_api import Record
from kato_consul._directory.consul_keys import Place
from kato_consul._directory.entry import Entry


@dataclass(frozen=True, slots=True)
class Queue:
    """A session's keys as they were at ``index``: its entry, and all that wait, first come first.

    ``left`` are the keys of waiters whose Consul session has ended.
    """

    entry: Record | None
    waiters: tuple[Record, ...]
    left: tuple[str, ...]
    index: int

    def with_entry(self, entry: Record | None, index: int) -> "Queue":
        """Return the queue with a newer entry."""
        return replace(self, entry=entry, index=index)

    def locked_by_another(self, session: str) -> bool:
        """Return whether the entry belongs to another Consul session."""
        return self.entry is not None and self.entry.session not in ("", session)

    def ahead_of(self, own: str) -> tuple[Record, ...]:
        """Return the waiters before the key ``own``: all, if it does not wait."""
        for position, waiter in enumerate(self.waiters):
            if waiter.key == own:
                return self.waiters[:position]
        return self.waiters

    def has(self, own: str) -> bool:
        """Return whether ``own`` waits."""
        return any(waiter.key == own for waiter in self.waiters)


def read_queue(place: Place, records: Iterable[Record], index: int) -> Queue:
    """Return the queue from the records of a session's keys."""
    entry, waiters = None, []
    for record in records:
        if record.key == place.entry:
            entry = record
        elif record.key.startswith(place.waiters):
            waiters.append(record)
    waiters.sort(key=lambda waiter: waiter.create_index)
    return Queue(
        entry,
        tuple(waiter for waiter in waiters if waiter.session),
        tuple(waiter.key for waiter in waiters if not waiter.session),
        index,
    )


class Move(Enum):
    """What a call that acquires a session does next."""

    ACQUIRE = "acquire it"
    JOIN = "join the queue"
    WAIT = "wait for the key before it"


def next_move(queue: Queue, own: str, session: str) -> tuple[Move, Record | None]:
    """Return what the call whose waiter's key is ``own`` does next, and the key that it waits for.

    ``session`` is its process' Consul session. An entry that this has locked is left over from an
    earlier call without an answer. It is acquired anew, also if others wait, since they wait for
    this process.
    """
    ahead, entry = queue.ahead_of(own), queue.entry
    if entry is not None and entry.session == session:
        return Move.ACQUIRE, None
    if not ahead and not queue.locked_by_another(session):
        return Move.ACQUIRE, None
    if not queue.has(own):
        return Move.JOIN, None
    return Move.WAIT, ahead[-1] if ahead else entry


class Fate(Enum):
    """What became of a write that Consul refused, or did not answer."""

    APPLIED = "the entry is as it was written"
    REPEAT = "the entry is as it was before; the write may be repeated"
    LOST = "the session belongs to another, or is gone"


def fate_of_write(found: Record | None, written: bytes, before: Entry, session: str) -> Fate:
    """Return the fate of a write by the entry as it is now.

    ``written`` is what was to be written, and ``before`` the entry of this owner until then. An
    entry that was changed by hand, and is still locked by this owner, is written again.
    """
    if found is None:
        return Fate.LOST
    if found.value == written:
        return Fate.APPLIED
    if found.session != session:
        return Fate.LOST
    try:
        now = Entry.decode(found.value or b"")
    except ValueError:
        return Fate.REPEAT
    same = (now.owner, now.epoch) == (before.owner, before.epoch)
    return Fate.REPEAT if same else Fate.LOST
