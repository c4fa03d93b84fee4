"""Mailbox of an owner in Consul: which of its sessions other processes wait for.

A waiter writes a key, the bell, under the prefix of the owner that it waits for. The owner watches
that prefix with one blocking query, however many sessions it owns.

A bell for a session that this process neither owns nor waits for means that it holds something
without knowing: a lock, or a place in the queue, from a call whose answer was lost, that was
cancelled, or that has dropped what it owned. That is given up. What a call leaves behind knowingly
is removed at once (`clean_up`).

The prefix itself is a key that the owner locks. If it is gone, so may be the entries of what this
process owns, and others may have acquired that: the lease is lost.
"""

import weakref
from collections import deque
from collections.abc import Iterable

from kato_consul._consul.blocking_query import TokenBucket, next_index, query_timeout
from kato_consul._consul.kv_api import (
    MAX_OPERATIONS,
    Operation,
    Record,
    Refused,
    check_at,
    delete,
    delete_at,
    lock,
    unlock,
)
from kato_consul._directory.consul_calls import LONGEST_CALL, Calls
from kato_consul._directory.consul_keys import Keys, Place, waiter_nonce
from kato_consul._directory.consul_lease import LOCK_DELAY, ConsulLease, Registered
from kato_consul._directory.consul_queue import read_queue
from kato_consul._directory.directory import Held
from kato_consul._flow import LONG_WAIT, Flow, Sleep, WaitForChange
from kato_consul._observable import Observable
from kato_consul.errors import ConsulError

LISTEN = 60.0
"""Seconds that the query for messages may block, as that of a watch."""

RATE, BURST = 200.0, 200.0
"""Queries per second, and how many may be sent at once. Each hand-over wakes the owner twice, and
one session goes from process to process up to 100 times a second."""


class Mailbox:
    """One owner's messages, and the sessions that it knows to own or to wait for."""

    def __init__(self, calls: Calls, lease: ConsulLease, keys: Keys, nonce: str) -> None:
        self.wanted: Observable[frozenset[str]] = Observable(frozenset())
        self.waiting: dict[str, Place] = {}
        """The places of the calls that acquire a session now, by the keys of these waiters."""
        self._held: dict[str, weakref.ref[Held]] = {}
        self._asked: set[str] = set()  # others waited when it was acquired
        self._purged_at = 0.0
        self._bells: frozenset[str] = frozenset()
        self._left: deque[str] = deque()
        self._leaving = Observable(object())
        self._calls = calls
        self._lease = lease
        self._keys = keys
        self._nonce = nonce

    def add(self, place: Place, held: Held) -> None:
        """Add a session that this process owns, as long as anything refers to ``held``."""
        self._held[place.name] = weakref.ref(held)
        if held.wanted:
            self._asked.add(place.name)
        self._publish()

    def forget(self, place: Place, held: Held) -> None:
        """Forget a session that is not owned any more."""
        if self._current(place.name) is held:
            del self._held[place.name]
        self._asked.discard(place.name)
        self._bells -= {place.name}
        self._publish()

    def leave_behind(self, waiter: str) -> None:
        """Let `clean_up` remove the key of a call that does not wait any more."""
        self._left.append(waiter)
        self._leaving.set(object())

    def listen(self) -> Flow[None]:
        """Flow: keep ``wanted`` up to date."""
        calls = self._calls
        prefix = self._keys.mailbox(self._nonce)
        bucket, pauses = TokenBucket(RATE, BURST), calls.pauses()
        opened: Registered | None = None
        index = 0
        while True:
            registered = self._lease.current
            if registered is None:
                yield WaitForChange(self._lease.state, self._lease.state.current, LONG_WAIT)
                continue
            api = calls.agents.current
            try:
                if opened is not registered:
                    # Without a key in it, the prefix would change with each other write to Consul.
                    opening = lock(prefix, self._lease.label.encode(), registered.session)
                    answer = yield from calls.transact([opening], self._until())
                    if not isinstance(answer, Refused):
                        opened, index = registered, 0
                    elif answer.by_lost_session:
                        self._lease.lose(registered, answer.reason)
                        continue
                # Until the lock-delay of the former Consul session is over, it reads at intervals.
                index = index if opened is registered else 0
                wait = LISTEN if index else 0.0
                until = calls.clock() + query_timeout(wait)
                mail = yield from calls.read(prefix, until, index=index, wait=wait)
                if opened is registered and all(one.key != prefix for one in mail.found):
                    # Locked by this process, it is not removed by another: with it, entries were.
                    self._lease.lose(registered, "its keys in Consul were deleted")
                    continue
                yield from self._receive(mail.found, registered)
            except ConsulError as error:
                calls.agents.record_failure(api)
                index = 0
                yield Sleep(next(pauses) + (error.retry_after or 0.0))
                continue
            index = next_index(index, mail.index)
            pauses = calls.pauses()
            if opened is not registered:
                yield Sleep(LOCK_DELAY / 4)
            if pause := bucket.take(calls.clock()):
                yield Sleep(pause)

    def _receive(self, records: Iterable[Record], registered: Registered) -> Flow[None]:
        prefix = self._keys.mailbox(self._nonce)
        bells = {one.key.removeprefix(prefix): one for one in records if one.key != prefix}
        self._bells = frozenset(bells)
        self._purge()
        self._publish()
        for name in bells:
            if not self.knows(name):
                yield from self.give_up(name, registered, self._until(), bells[name])

    def _publish(self) -> None:
        """Set ``wanted``. Several threads do it at a time; the last one to set it sees that another
        has changed something meanwhile, and sets it again."""
        while (wanted := self._wanted()) != self.wanted.current:
            self.wanted.set(wanted)

    def _wanted(self) -> frozenset[str]:
        held = (self._current(name) for name in self._bells | self._asked)
        return frozenset(one.entry.key for one in held if one is not None)

    def _current(self, name: str) -> Held | None:
        """Return a session that this process owns; None if it does not, or has dropped it."""
        known = self._held.get(name)
        held = None if known is None else known()
        return None if held is None or held.dropped or held.lease.lost else held

    def _purge(self) -> None:
        """Forget what this process has dropped, or owned under a lost lease."""
        if self._calls.clock() - self._purged_at < LISTEN:
            return
        self._purged_at = self._calls.clock()
        for name, known in tuple(self._held.items()):
            if self._current(name) is None:
                removed = self._held.pop(name, known)
                if removed is not known:  # it was acquired at this moment
                    self._held.setdefault(name, removed)
                else:
                    self._asked.discard(name)

    def knows(self, name: str) -> bool:
        """Return whether this process owns a session, or waits for it, as far as it knows."""
        # In this order: a call that has acquired it is in both for a moment.
        waits = any(place.name == name for place in tuple(self.waiting.values()))
        return waits or self._current(name) is not None

    def give_up(
        self, name: str, registered: Registered, deadline: float, bell: Record | None = None
    ) -> Flow[None]:
        """Flow: give up what this process holds of a session without knowing, and its bell."""
        place = Place("", name, f"{self._keys.sessions}{name}/")
        answer = yield from self._calls.read(place.prefix, deadline)
        queue = read_queue(place, answer.found, answer.index)
        operations: list[Operation] = [] if bell is None else [delete_at(bell)]
        operations += [
            delete(waiter.key)
            for waiter in queue.waiters
            if waiter_nonce(waiter.key) == self._nonce and waiter.key not in self.waiting
        ]
        entry = queue.entry
        # After the read: a call that had acquired it by then, and goes on, is known.
        if entry is not None and entry.session == registered.session and not self.knows(name):
            operations += [
                check_at(entry.key, entry.modify_index),
                unlock(entry.key, entry.value or b"", registered.session),
            ]
        if operations:  # refused: one of them has changed. The next bell repeats it
            yield from self._calls.transact(operations[:MAX_OPERATIONS], deadline)

    def clean_up(self) -> Flow[None]:
        """Flow: remove the keys of calls that do not wait any more."""
        pauses = self._calls.pauses()
        while True:
            leaving = self._leaving.current
            batch = [self._left.popleft() for _ in range(min(len(self._left), MAX_OPERATIONS))]
            if not batch:
                yield WaitForChange(self._leaving, leaving, LONG_WAIT)
                continue
            try:
                yield from self._calls.transact([delete(key) for key in batch], self._until())
            except ConsulError as error:
                self._left.extend(batch)
                yield Sleep(next(pauses) + (error.retry_after or 0.0))
            else:
                pauses = self._calls.pauses()

    def _until(self) -> float:
        return self._calls.clock() + LONGEST_CALL
