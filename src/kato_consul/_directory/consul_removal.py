"""Removal of old entries in Consul: those of sessions that KATO has forgotten, and old bells.

One process of a service does it at a time: the one that wrote the time of the last removal. Each
deletion is refused if the key was changed since it was read, or is in use.
"""

import time
from collections.abc import Iterable, Iterator

from kato_consul._consul.kv_api import (
    Operation,
    Record,
    Refused,
    check_at,
    delete_at,
    write,
)
from kato_consul._directory.consul_calls import LONGEST_CALL, Calls
from kato_consul._directory.consul_keys import Keys
from kato_consul._directory.consul_lease import ConsulLease
from kato_consul._directory.entry import Entry
from kato_consul._flow import LONG_WAIT, Flow, Sleep, WaitForChange
from kato_consul.errors import ConsulError

INTERVAL = 600.0
"""Mean seconds between two removals, of all processes of a service together."""


class Removal:
    """Removes the old keys of one service."""

    def __init__(self, calls: Calls, lease: ConsulLease, keys: Keys) -> None:
        self._calls = calls
        self._lease = lease
        self._keys = keys

    def repeat(self) -> Flow[None]:
        """Flow: remove old entries about every ten minutes, if no other process does. One that has
        acquired no session yet does not."""
        while True:
            yield Sleep(INTERVAL * (0.75 + 0.5 * self._calls.random()))
            if self._lease.current is None:
                yield WaitForChange(self._lease.state, self._lease.state.current, LONG_WAIT)
                continue
            try:
                if (yield from self._is_due()):
                    yield from self.remove()
            except ConsulError:
                continue  # calls report it; the next round may succeed

    def remove(self) -> Flow[None]:
        """Flow: remove what is old now."""
        for prefix, old in ((self._keys.sessions, _expired), (self._keys.owners, _ownerless)):
            answer = yield from self._calls.read(prefix, self._until())
            for record in old(answer.found, time.time()):
                # One by one: a transaction would be refused if one of its keys has changed.
                yield from self._calls.transact([delete_at(record)], self._until())

    def _is_due(self) -> Flow[bool]:
        """Flow: return whether this process is the one that removes now."""
        answer = yield from self._calls.read(self._keys.cleaned, self._until(), one=True)
        index, now = 0, time.time()
        for record in answer.found:
            index = record.modify_index
            if abs(now - _as_time(record.value)) < INTERVAL / 2:
                return False
        claim: list[Operation] = [
            check_at(self._keys.cleaned, index),
            write(self._keys.cleaned, f"{now:.0f}".encode()),
        ]
        claimed = yield from self._calls.transact(claim, self._until())
        return not isinstance(claimed, Refused)

    def _until(self) -> float:
        return self._calls.clock() + LONGEST_CALL


def _expired(records: Iterable[Record], now: float) -> Iterator[Record]:
    """Yield the entries that have expired and are not owned, and the keys of waiters that are
    gone."""
    for record in records:
        if record.session:
            continue
        if not record.key.endswith("/entry"):
            yield record
            continue
        try:
            entry = Entry.decode(record.value or b"")
        except ValueError:
            continue  # an operator decides: the error of the call that needs it says how
        if 0 < entry.expires_at < now:
            yield record


def _ownerless(records: Iterable[Record], _now: float) -> Iterator[Record]:
    """Yield the keys in the mailboxes of owners that are gone."""
    found = list(records)
    alive = {record.key for record in found if record.session}
    for record in found:
        mailbox = record.key[: record.key.rindex("/") + 1]
        if mailbox not in alive:
            yield record


def _as_time(value: bytes | None) -> float:
    try:
        return float(value or b"0")
    except ValueError:
        return 0.0
