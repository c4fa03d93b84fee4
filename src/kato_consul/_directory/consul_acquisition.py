"""Acquisition of a session in Consul's KV store: join the queue, wait, and lock the entry.

Each step is one transaction, so that nothing can change between what it checks and what it writes.
A waiter writes the bell of the owner in the same transaction in which it joins the queue. The new
owner reads the queue in the same transaction in which it locks the entry. So none waits unseen. A
bell that had no effect for `RING_AGAIN` is rung again.
"""

from kato_consul._consul.kv_api import (
    Operation,
    Record,
    Records,
    Refused,
    check_at,
    delete,
    lock,
    read_tree,
    write,
)
from kato_consul._directory.blocking_slots import BlockingSlots
from kato_consul._directory.consul_calls import SHORTEST, Calls
from kato_consul._directory.consul_keys import Keys, Place, waiter_nonce
from kato_consul._directory.consul_lease import LENGTH, ConsulLease, Registered
from kato_consul._directory.consul_queue import Move, Queue, next_move, read_queue
from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow, Sleep, WaitForChange
from kato_consul.errors import ConsulError, SessionOwnedElsewhere

RING_AGAIN = 1.0
"""Seconds after which a waiter repeats its bell: an owner gives a session up within a quarter of a
second and the call in hand."""

LONGEST_WAIT = 10.0
"""Seconds that a query of a waiter that is not the first may block."""

ANSWER_SLACK = 0.2
"""Seconds before the deadline at which a blocking query returns, so that its answer arrives."""

LOCK_RETRY = 0.1
"""Seconds between two attempts during the lock-delay, which Consul refuses without writing."""

MOST_LEFT = 20
"""Keys of waiters that are gone which one acquisition removes."""


class Token:
    """What a held session is changed with: its place, its registration, and the index of the last
    change."""

    __slots__ = ("index", "place", "registered")

    def __init__(self, place: Place, registered: Registered, index: int) -> None:
        self.place = place
        self.registered = registered
        self.index = index


class Acquisition:
    """One call that acquires a session. ``own`` is its waiter's key.

    ``may_wait``: that key may be in the queue.
    """

    def __init__(
        self,
        calls: Calls,
        lease: ConsulLease,
        keys: Keys,
        slots: BlockingSlots,
        place: Place,
        own: str,
        deadline: float,
    ) -> None:
        self.may_wait = False
        self._calls, self._lease, self._keys, self._slots = calls, lease, keys, slots
        self._place, self._own, self._deadline = place, own, deadline
        self._nonce = waiter_nonce(own)
        self._previous: Entry | None = None
        self._sent: bytes | None = None
        self._rung, self._rung_at = "", 0.0
        self._rings = 0
        self._followed = ""
        self._joined = False

    def run(self) -> Flow[tuple[Held, Entry | None]]:
        """Flow: acquire the session, and return it with the entry before."""
        attempts = self._calls.attempts(self._deadline)
        queue: Queue | None = None
        while True:
            registered = yield from self._lease.registered(self._deadline)
            try:
                result = yield from self._step(queue or (yield from self._read()), registered)
            except ConsulError as error:
                queue = None
                yield from attempts.after(error)
                continue
            queue = None if isinstance(result, Held) else result
            if isinstance(result, Held) and (yield from self._has_time(registered)):
                return result, self._previous

    def _step(self, queue: Queue, registered: Registered) -> Flow[Queue | Held | None]:
        """Flow: do what comes next. Return the queue as it is then, or None: it has to be read."""
        entry = queue.entry
        if entry is not None and entry.session == registered.session and entry.value == self._sent:
            return self._held(queue, registered)  # the answer to the transaction was lost
        move, blocker = next_move(queue, self._own, registered.session)
        if move is Move.ACQUIRE:
            return (yield from self._acquire(queue, registered))
        self._require_time(queue)
        if move is Move.JOIN:
            return (yield from self._join(queue, registered))
        assert blocker is not None
        return (yield from self._wait(queue, blocker))

    def _read(self) -> Flow[Queue]:
        answer = yield from self._calls.read(self._place.prefix, self._deadline)
        return read_queue(self._place, answer.found, answer.index)

    def _acquire(self, queue: Queue, registered: Registered) -> Flow[Queue | Held | None]:
        place, entry = self._place, queue.entry
        previous = self._decoded(entry)
        acquired = (previous or Entry(key=place.key)).acquired_by(self._nonce, self._lease.label)
        self._previous, self._sent = previous, acquired.encode()
        operations = [
            check_at(place.entry, entry.modify_index if entry else 0),
            lock(place.entry, self._sent, registered.session),
            *(delete(key) for key in (self._own, *queue.left[:MOST_LEFT])),
        ]
        asked_at = registered.lease.now()
        answer = yield from self._transact(operations, place.waiters)  # the entry is as it was sent
        if isinstance(answer, Queue):
            self._lease.proven(registered, asked_at)
            return self._held(answer, registered)
        if answer.by_lost_session:
            self._lease.lose(registered, answer.reason)
        if not answer.by_lock_delay:
            return None  # the entry was changed
        self._require_time(queue)
        if not queue.has(self._own):
            return (yield from self._join(queue, registered))
        yield Sleep(LOCK_RETRY)
        return queue

    def _held(self, queue: Queue, registered: Registered) -> Held:
        entry = queue.entry
        assert entry is not None
        assert self._sent is not None
        self.may_wait = False  # the transaction has removed its key
        others = any(waiter.key != self._own for waiter in queue.waiters)
        token = Token(self._place, registered, entry.modify_index)
        return Held(
            Entry.decode(self._sent), registered.lease, token, wanted=others, waited=self._joined
        )

    def _has_time(self, registered: Registered) -> Flow[bool]:
        """Flow: confirm a lease of which little is left. Return whether it is still the same."""
        lease = registered.lease
        if lease.end - lease.now() > LENGTH / 2:
            return True
        return (yield from self._lease.confirm(self._deadline))

    def _join(self, queue: Queue, registered: Registered) -> Flow[Queue | None]:
        self.may_wait = self._joined = True
        operations = [lock(self._own, self._lease.label.encode(), registered.session)]
        owner = self._owner(queue)
        if owner and queue.locked_by_another(registered.session) and not queue.waiters:
            operations.append(self._bell(owner))
        answer = yield from self._transact(operations)
        if isinstance(answer, Queue):
            return answer
        if answer.by_lost_session:
            self._lease.lose(registered, answer.reason)
        return None

    def _wait(self, queue: Queue, blocker: Record) -> Flow[Queue | None]:
        """Flow: wait until the key before this one changes, or its process has to be asked again.

        The first waiter asks the owner. The second one asks the first one, if the session is free
        and not acquired: a place in the queue may be left over from a call that was cancelled.
        """
        first, target, longest = blocker is queue.entry, "", LONGEST_WAIT
        if first:
            target, longest = self._owner(queue), RING_AGAIN
        elif blocker is queue.waiters[0]:
            self._followed, longest = waiter_nonce(blocker.key), 2 * RING_AGAIN
            if queue.entry is None or not queue.entry.session:
                target, longest = self._followed, RING_AGAIN
        else:
            self._followed = waiter_nonce(blocker.key)
        if target and self._must_ring(target):
            answer = yield from self._transact([self._bell(target)])
            return answer if isinstance(answer, Queue) else None
        records = yield from self._block(blocker.key, queue.index, longest)
        now = records.found[0] if records.found else None
        if not first:
            return None
        if now is not None and now.modify_index == blocker.modify_index:
            return queue
        return queue.with_entry(now, max(queue.index, records.index))

    def _block(self, key: str, index: int, longest: float) -> Flow[Records]:
        """Flow: read a key when it has changed after ``index``, or after ``longest`` seconds."""
        slots, freed = self._slots, self._slots.freed.current
        try:
            blocks = slots.take(self)
            if not blocks:
                pause = min(slots.read_interval, self._remaining())
                yield WaitForChange(slots.freed, freed, pause)
                blocks = slots.take(self)
            remaining = self._remaining()
            # Consul adds up to a sixteenth.
            before_deadline = (remaining - min(ANSWER_SLACK, remaining / 2)) * 16 / 17
            wait = min(longest, before_deadline)
            index = index if blocks else 0
            return (
                yield from self._calls.read(key, self._deadline, index=index, wait=wait, one=True)
            )
        finally:
            slots.give_back(self)

    def _must_ring(self, target: str) -> bool:
        """Return whether to ring. One that was ahead in the queue until now knows of this waiter:
        it is asked only after `RING_AGAIN`."""
        now = self._calls.clock()
        if target != self._rung:
            self._rung, self._rung_at = target, now
            return target != self._followed
        if now - self._rung_at < RING_AGAIN:
            return False
        self._rung_at = now
        return True

    def _bell(self, nonce: str) -> Operation:
        self._rung, self._rung_at = nonce, self._calls.clock()
        self._rings += 1
        # Each has another value: Consul wakes no query for a write that changes nothing, and a bell
        # of before may have been left there.
        value = f"{self._lease.label} {self._own.rpartition('/')[2]} {self._rings}"
        return write(self._keys.bell(nonce, self._place), value.encode())

    def _transact(self, operations: list[Operation], prefix: str = "") -> Flow[Queue | Refused]:
        """Flow: carry out a transaction, and return the queue as it is after it; with ``prefix``
        only what is under that, and what was written."""
        operations = [*operations, read_tree(prefix or self._place.prefix)]
        answer = yield from self._calls.transact(operations, self._deadline)
        if isinstance(answer, Refused):
            return answer
        newest = {record.key: record for record in answer}  # what was read, not what was written
        index = max((record.modify_index for record in answer), default=0)
        return read_queue(self._place, newest.values(), index)

    def _decoded(self, record: Record | None) -> Entry | None:
        if record is None:
            return None
        try:
            entry = Entry.decode(record.value or b"")
        except ValueError as error:
            why = str(error)
        else:
            if entry.key == self._place.key:
                return entry
            why = f"it is that of {entry.key!r}"
        raise self._calls.unusable_entry(self._place.key, record.key, why)

    def _owner(self, queue: Queue) -> str:
        """Return the nonce of the owner of the entry; "" if there is none."""
        entry = self._decoded(queue.entry)
        return entry.owner if entry else ""

    def _remaining(self) -> float:
        return self._deadline - self._calls.clock()

    def _require_time(self, queue: Queue) -> None:
        """Raise if the deadline is over."""
        if self._remaining() > SHORTEST:
            return
        key, entry = self._place.key, self._decoded(queue.entry)
        owner = (entry.owner_label if entry else "") or "another process"
        why = "it was not released before the deadline"
        if queue.ahead_of(self._own):
            why = f"{why}, and {len(queue.ahead_of(self._own))} others waited before this call"
        raise SessionOwnedElsewhere(key, owner, why)
