"""Consul's session directory: entries in the KV store, each locked by its owner's Consul session.

`consul_lease` explains why no two processes own a session at a time, `consul_queue` the order in
which processes get it, and `consul_keys` where everything is.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from kato_consul._consul.agents import Agents, kv_apis
from kato_consul._consul.kv_api import (
    MAX_OPERATIONS,
    KvApi,
    Operation,
    Record,
    Refused,
    check_at,
    delete,
    delete_tree,
    lock,
    read_tree,
    unlock,
)
from kato_consul._directory.blocking_slots import BlockingSlots
from kato_consul._directory.consul_acquisition import Acquisition, Token
from kato_consul._directory.consul_calls import Calls
from kato_consul._directory.consul_keys import Keys
from kato_consul._directory.consul_lease import ConsulLease
from kato_consul._directory.consul_mailbox import Mailbox
from kato_consul._directory.consul_queue import Fate, fate_of_write
from kato_consul._directory.consul_removal import Removal
from kato_consul._directory.directory import Held, LeaseLost, Stored, never
from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow
from kato_consul._logging import logger
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import ConsulError
from kato_consul.settings import Settings

log = logger("directory")

LEAVE_WITHIN = 2.0
"""Seconds that Consul has to end the lease of a client that is closed."""


class ConsulDirectory:
    """A `Directory` in Consul, for one client."""

    def __init__(self, settings: Settings, label: str) -> None:
        """Nothing is sent: this process is registered when it first acquires a session. ``label``
        names it to people."""
        self.nonce = secrets.token_hex(8)
        agents = Agents(kv_apis(settings))
        self.name = f"Consul at {', '.join(_without_scheme(one) for one in agents.addresses)}"
        self._keys = Keys(settings.service)
        self._calls = Calls(agents, self.name, self._keys, clock, uniform)
        self._lease = ConsulLease(self._calls, settings.service, self.nonce, label)
        self._mailbox = Mailbox(self._calls, self._lease, self._keys, self.nonce)
        self._removal = Removal(self._calls, self._lease, self._keys)
        self._slots = BlockingSlots()
        self._numbers = itertools.count(1)
        self.wanted = self._mailbox.wanted

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """See `Directory.acquire`."""
        place = self._keys.place(key)
        own = place.waiter(self.nonce, next(self._numbers))
        acquisition = Acquisition(
            self._calls, self._lease, self._keys, self._slots, place, own, deadline
        )
        self._mailbox.waiting[own] = place
        try:
            held, previous = yield from acquisition.run()
            self._mailbox.add(place, held)
            return held, previous
        finally:
            self._mailbox.waiting.pop(own, None)
            if acquisition.may_wait:  # also if this call was cancelled, and can send nothing more
                self._mailbox.leave_behind(own)

    def write(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """See `Directory.write`."""
        token, data = _token(held), entry.encode()

        def operations(index: int) -> list[Operation]:
            path = token.place.entry
            return [check_at(path, index), lock(path, data, token.registered.session)]

        yield from self._change(held, data, operations, deadline)
        held.entry = entry

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """See `Directory.release`."""
        token, data = _token(held), entry.encode()

        def operations(index: int) -> list[Operation]:
            path = token.place.entry
            return [
                check_at(path, index),
                unlock(path, data, token.registered.session),
                delete(self._keys.bell(self.nonce, token.place)),
            ]

        yield from self._change(held, data, operations, deadline)
        held.entry = entry
        self._mailbox.forget(token.place, held)

    def disown(self, key: str, deadline: float, is_known: Callable[[], bool] = never) -> Flow[None]:
        """See `Directory.disown`. The mailbox knows of a session as long as its `Held` is referred
        to, or a call acquires it."""
        place, attempts = self._keys.place(key), self._calls.attempts(deadline)
        while registered := self._lease.current:
            if self._mailbox.knows(place.name) or is_known():
                return None
            try:
                return (yield from self._mailbox.give_up(place.name, registered, deadline))
            except ConsulError as error:
                yield from attempts.after(error)

    def confirm(self, deadline: float) -> Flow[bool]:
        """See `Directory.confirm`."""
        return self._lease.confirm(deadline)

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """See `Directory.entry`."""
        path = self._keys.place(key).entry
        answer = yield from self._calls.until_answered(
            lambda api: api.read_keys(path, one=True), deadline
        )
        for record in answer.found:
            try:
                return Stored(Entry.decode(record.value or b""), bool(record.session))
            except ValueError as error:
                raise self._calls.unusable_entry(key, path, str(error)) from None
        return None

    def entries(self, deadline: float) -> Flow[list[Stored]]:
        """See `Directory.entries`.

        They are read in parts: all of a large service in one answer would be some 100 MB.
        """
        folders = yield from self._calls.until_answered(
            lambda api: api.list_folders(self._keys.sessions), deadline
        )
        if not folders:  # there are none, or the token may not read them: a single key tells
            yield from self._calls.until_answered(
                lambda api: api.read_keys(self._keys.cleaned, one=True), deadline
            )
        stored: list[Stored] = []
        for start in range(0, len(folders), MAX_OPERATIONS):
            # By prefix: one that has just been removed is no error.
            reads = [read_tree(f"{one}entry") for one in folders[start : start + MAX_OPERATIONS]]
            answer = yield from self._calls.until_answered(
                partial(KvApi.transact, operations=reads), deadline
            )
            if isinstance(answer, Refused):
                raise self._calls.unavailable(f"listing the sessions: {answer.reason}")
            stored += self._readable(answer)
        return sorted(stored, key=lambda one: one.entry.key)

    def _readable(self, records: Iterable[Record]) -> Iterator[Stored]:
        """Yield the entries, without those that expired and are only not removed yet."""
        now = time.time()
        for record in records:
            try:
                stored = Stored(Entry.decode(record.value or b""), bool(record.session))
            except ValueError as error:
                log.warning("directory.entry_unusable", directory=self.name, why=str(error))
                continue
            if stored.owned or not 0 < stored.entry.expires_at <= now:
                yield stored

    def eviction_policy(self, deadline: float) -> Flow[str]:
        """See `Directory.eviction_policy`: Consul never does."""
        return ""
        yield

    def background(self) -> list[tuple[Flow[None], str]]:
        """See `Directory.background`."""
        return [
            (self._lease.keep_registered(), "kato-consul owner"),
            (self._lease.keep_confirmed(), "kato-consul lease"),
            (self._mailbox.listen(), "kato-consul mailbox"),
            (self._mailbox.clean_up(), "kato-consul queue"),
            (self._removal.repeat(), "kato-consul removal"),
        ]

    def leave(self, deadline: float) -> Flow[None]:
        """See `Directory.leave`."""
        registered = self._lease.current
        if registered is None:
            return
        deadline = min(deadline, clock() + LEAVE_WITHIN)
        yield from self._lease.leave(deadline)
        removing = [delete_tree(self._keys.mailbox(self.nonce))]
        removing += [delete(own) for own in tuple(self._mailbox.waiting)]
        try:
            yield from self._calls.transact(removing[:MAX_OPERATIONS], deadline)
        except ConsulError:
            return  # the removal of old entries removes them

    def _change(
        self,
        held: Held,
        data: bytes,
        operations: Callable[[int], Sequence[Operation]],
        deadline: float,
    ) -> Flow[None]:
        """Flow: carry out a transaction that changes an owned session, once: its entry is ``data``.

        A transaction that was not answered is sent again. If the first one was carried out, Consul
        refuses the second one, since the entry's index is another. What became of a refused
        transaction shows in the entry.
        """
        token = _token(held)
        path, registered = token.place.entry, token.registered
        attempts = self._calls.attempts(deadline)
        while True:
            if held.lease.lost:
                self._mailbox.forget(token.place, held)
                raise LeaseLost(f"the lease of session {token.place.key!r} is lost")
            asked_at = registered.lease.now()
            try:
                answer = yield from self._calls.transact(operations(token.index), deadline)
                if not isinstance(answer, Refused):
                    self._lease.proven(registered, asked_at)
                    token.index = max((one.modify_index for one in answer), default=token.index)
                    return
                found = yield from self._calls.read(path, deadline, one=True)
            except ConsulError as error:
                yield from attempts.after(error)
                continue
            record = found.found[0] if found.found else None
            outcome = fate_of_write(record, data, held.entry, registered.session)
            if outcome is Fate.LOST:
                self._mailbox.forget(token.place, held)
                raise LeaseLost(f"session {token.place.key!r} is another's: {answer.reason}")
            assert record is not None
            token.index = record.modify_index
            if outcome is Fate.APPLIED:
                return


def _without_scheme(address: str) -> str:
    return address.partition("://")[2]


def _token(held: Held) -> Token:
    assert isinstance(held.token, Token)
    return held.token
