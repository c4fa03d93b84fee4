"""In-memory model of a session directory for tests of owners, whose flows are interleaved.

Each request of an owner takes effect between two steps of its flow, so that another owner can do
anything before and after it. A lease ends when the clock has passed it, also if the owner has not
read yet how long it is; `ModelStore.expire` then frees what its owner held, as Consul does with the
session of a process that is dead or stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kato_consul._directory.directory import Held, LeaseLost, Stored, never
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease
from kato_consul._flow import Flow, Sleep
from kato_consul._observable import Observable
from kato_consul.errors import SessionDirectoryUnavailable, SessionOwnedElsewhere
from kato_consul.testing.clock import ManualClock

LEASE = 1.0
"""Seconds that a lease is valid after it was confirmed."""

DELAY = 0.002
"""Seconds that a request takes on its way, and as long its answer."""

TRY_AGAIN_AFTER = 0.05
"""Seconds between two attempts of an owner that waits."""


@dataclass
class ModelStore:
    """What all owners share. ``down``: no request is answered. ``lose_answers`` counts the next
    requests that take effect and are not answered."""

    clock: ManualClock
    entries: dict[str, Entry] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    queues: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, "ModelDirectory"] = field(default_factory=dict)
    down: bool = False
    lose_answers: int = 0

    def expire(self, nonce: str) -> None:
        """Let an owner's lease end, and free all that it holds."""
        owner = self.owners[nonce]
        self.clock.now = max(self.clock.now, owner.lease.end, owner.confirmed_until)
        owner.alive = False
        self.holders = {key: one for key, one in self.holders.items() if one != nonce}

    def is_held_by_another(self, key: str, nonce: str) -> bool:
        """Return whether another owner holds the session, or waits longer for it."""
        queue = self.queues.setdefault(key, [])
        return self.holders.get(key, nonce) != nonce or (bool(queue) and queue[0] != nonce)


class ModelDirectory:
    """One owner's directory. ``confirmed_until`` is when its lease ends as the store knows it: the
    owner knows only once it has read the answer."""

    def __init__(self, store: ModelStore, nonce: str) -> None:
        self.store = store
        self.nonce = nonce
        self.name = "the model"
        self.wanted: Observable[frozenset[str]] = Observable(frozenset())
        self.alive = False
        self.confirmed_until = 0.0
        self.lease = Lease(lambda: store.clock.now)
        store.owners[nonce] = self

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: wait for the session, and acquire it."""
        waited = False
        queue = self.store.queues.setdefault(key, [])
        try:
            while True:
                yield from self._request(deadline)
                before = self._take(key)
                yield from self._response(deadline)
                if before is not None:
                    previous = before[0]
                    entry = self.store.entries[key]
                    if self.store.holders.get(key) != self.nonce:
                        continue  # the answer came too late
                    wanted = bool(queue)
                    held = Held(entry, self.lease, None, waited=waited, wanted=wanted)
                    return held, previous
                waited = True
                if self.store.clock.now >= deadline:
                    owner = self.store.holders.get(key, "")
                    raise SessionOwnedElsewhere(key, owner, "it did not release it in time")
                yield Sleep(TRY_AGAIN_AFTER)
        finally:
            if self.nonce in queue:
                queue.remove(self.nonce)

    def _take(self, key: str) -> tuple[Entry | None] | None:
        store = self.store
        queue = store.queues.setdefault(key, [])
        if store.is_held_by_another(key, self.nonce):
            if self.nonce not in queue:
                queue.append(self.nonce)
            if (holder := store.holders.get(key)) is not None:
                owner = store.owners[holder]
                owner.wanted.set(owner.wanted.current | {key})
            return None
        if self.nonce in queue:
            queue.remove(self.nonce)
        if not self.alive:
            self.lease.lose()
            self.lease, self.alive = Lease(lambda: store.clock.now), True
        self.lease.extend(store.clock.now + LEASE)
        previous = store.entries.get(key)
        store.entries[key] = (previous or Entry(key=key)).acquired_by(self.nonce, self.nonce)
        store.holders[key] = self.nonce
        return (previous,)

    def write(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: replace the entry."""
        yield from self._request(deadline)
        written = self._is_still(held)
        if written:
            self.store.entries[entry.key] = entry
        yield from self._response(deadline)
        if not written:
            raise LeaseLost
        held.entry = entry

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: write the entry and give up the session."""
        yield from self._request(deadline)
        written = self._is_still(held)
        if written:
            self.store.entries[entry.key] = entry
            del self.store.holders[entry.key]
        self.wanted.set(self.wanted.current - {entry.key})
        yield from self._response(deadline)
        if not written:
            raise LeaseLost

    def disown(self, key: str, deadline: float, is_known: Callable[[], bool] = never) -> Flow[None]:
        """Flow: give up a session that this owner may have acquired without knowing it."""
        yield from self._request(deadline)
        if self.store.holders.get(key) == self.nonce and not is_known():
            del self.store.holders[key]
        self.wanted.set(self.wanted.current - {key})
        yield from self._response(deadline)

    def confirm(self, deadline: float) -> Flow[bool]:
        """Flow: confirm the lease."""
        started = self.store.clock.now
        yield from self._request(deadline)
        lease, alive = self.lease, self.alive
        if alive:
            self.confirmed_until = max(self.confirmed_until, started + LEASE)
        yield from self._response(deadline)
        if alive:
            lease.extend(started + LEASE)
        return alive

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """Flow: read one entry."""
        yield from self._request(deadline)
        return self._stored(key) if key in self.store.entries else None

    def entries(self, deadline: float) -> Flow[list[Stored]]:
        """Flow: read all entries."""
        yield from self._request(deadline)
        return [self._stored(key) for key in sorted(self.store.entries)]

    def _stored(self, key: str) -> Stored:
        return Stored(self.store.entries[key], key in self.store.holders)

    def eviction_policy(self, deadline: float) -> Flow[str]:
        """Flow: it removes none."""
        yield from self._request(deadline)
        return ""

    def background(self) -> list[tuple[Flow[None], str]]:
        """Return no flows: the tests expire leases themselves."""
        return []

    def leave(self, deadline: float) -> Flow[None]:
        """Flow: free all that this owner holds."""
        yield from self._request(deadline)
        self.store.expire(self.nonce)

    def _is_still(self, held: Held) -> bool:
        key = held.entry.key
        stored = self.store.entries.get(key)
        if stored is None or self.store.holders.get(key) != self.nonce or not self.alive:
            return False
        return (stored.owner, stored.epoch) == (self.nonce, held.entry.epoch)

    def _request(self, deadline: float) -> Flow[None]:
        yield Sleep(DELAY)
        while self.store.down:
            if self.store.clock.now >= deadline:
                raise SessionDirectoryUnavailable(self.name, "it does not answer")
            yield Sleep(0.1)

    def _response(self, deadline: float) -> Flow[None]:
        """Flow: wait for the answer. One that was lost is asked for again: in this model, by not
        doing anything a second time."""
        yield Sleep(DELAY)
        while self.store.down:
            if self.store.clock.now >= deadline:
                raise SessionDirectoryUnavailable(self.name, "it does not answer")
            yield Sleep(0.1)
