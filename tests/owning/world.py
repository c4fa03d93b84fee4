"""The world of the model as one value: KATO's store, the directory's entry, two processes, calls.

A world is a tuple of small values, so that it can be compared, hashed and renamed. It holds no
clock: a lease is held until it ends, which can be at any moment.
"""

from enum import IntEnum
from typing import NamedTuple

FREE, DEAD = -1, 2
"""No holder of the lease; the owner of what a crashed process left. Processes are 0 and 1."""

NO_CALL = -1

NO_KEY, ANSWERED, UNKNOWABLE, BY_MARK = 0, -1, -2, -3
"""An idempotency key in an entry: none, answered, a learn that may be applied, a learn whose mark
decides. A number above 0 is the counter that KATO has once the call of this key is applied."""


class Kind(IntEnum):
    """What a call does."""

    OBSERVE = 0
    LEARN = 1
    READ = 2
    CLEAR = 3


class Status(IntEnum):
    """What the caller of a call was told."""

    NEW = 0
    ACTIVE = 1
    ACKNOWLEDGED = 2
    UNKNOWN = 3
    NOT_APPLIED = 4


class Phase(IntEnum):
    """What a process does next for a session."""

    IDLE = 0
    QUEUED = 1  # it waits for the lease
    TAKEOVER = 2  # it has the lease, and reads the cut
    SWITCH = 3  # it has read the cut, and writes it into the entry with a new id
    FENCE = 4  # it leaves the id, with its own journal
    RECORD = 5  # it writes mark and key into the entry
    READY = 6  # it has checked the lease, and has not sent yet
    WAITING = 7
    SETTLE = 8  # it reads whether the pending write is applied


class Call(NamedTuple):
    """A call that a caller makes. ``retries``: the same key again, of this call."""

    caller: str
    kind: Kind = Kind.OBSERVE
    key: bool = False
    retries: int = NO_CALL


class Session(NamedTuple):
    """A KATO session: its counter, and the calls whose observations are in its memory."""

    counter: int
    memory: tuple[int, ...]

    def after(self, call: int, kind: Kind) -> "Session":
        """Return the session with a write applied."""
        if kind is Kind.LEARN:
            return Session(self.counter, ())
        if kind is Kind.CLEAR:
            return EMPTY
        return Session(self.counter + 1, (*self.memory, call))

    def replayed(self) -> "Session":
        """Return a new session with this memory: its counter starts anew."""
        return Session(len(self.memory), self.memory)


EMPTY = Session(0, ())


class Mark(NamedTuple):
    """A learn that may be applied to ``session``. ``doubt``: its id was left since."""

    doubt: bool
    session: Session


class Entry(NamedTuple):
    """What the directory stores. ``journal`` is None unless the entry was released."""

    epoch: int
    owner: int
    revision: int
    released: bool
    id: int
    journal: Session | None
    cuts: tuple[tuple[int, Session], ...]
    mark: Mark | None
    key: int


class Owner(NamedTuple):
    """A process' memory of the session.

    ``held`` is the entry as it acquired or wrote it last, and ``complete``: it owned the session
    then. ``leased`` is its belief, which is right only while it is also the lease's holder.
    ``pending`` is a write without an outcome, sent in ``pending_epoch``. ``unwritten`` is a write
    of the entry without an outcome.
    """

    phase: Phase = Phase.IDLE
    leased: bool = False
    complete: bool = False
    held: Entry | None = None
    id: int = -1
    journal: Session = EMPTY
    key: int = NO_KEY
    mark: Mark | None = None
    call: int = NO_CALL
    pending: int = NO_CALL
    pending_epoch: int = 0
    cut: Session | None = None
    unwritten: Entry | None = None


class Request(NamedTuple):
    """A write at a KATO instance. ``read`` is the session as it read it; it writes that back."""

    process: int
    id: int
    call: int
    kind: Kind
    read: Session | None


class LateWrite(NamedTuple):
    """A write of the entry that got no answer, and may still arrive: a CAS on ``expected``."""

    expected: Entry
    entry: Entry


class World(NamedTuple):
    """Everything. ``counted`` are the patterns that KATO counted: the call, and the memory.

    ``cleared`` are observations that were cleared, as a process knows.
    """

    store: tuple[Session, ...]
    entry: Entry
    owners: tuple[Owner, Owner]
    requests: tuple[Request, ...] = ()
    late_writes: tuple[LateWrite, ...] = ()
    statuses: tuple[Status, ...] = ()
    holder: int = FREE
    counted: tuple[tuple[int, tuple[int, ...]], ...] = ()
    cleared: frozenset[int] = frozenset()

    def has_lease(self, process: int) -> bool:
        """Return whether a process' lease is valid, which its clock tells it."""
        return self.holder == process and self.owners[process].leased

    def with_owner(self, process: int, owner: Owner) -> "World":
        """Return the world with another memory of one process."""
        other = self.owners[1 - process]
        return self._replace(owners=(owner, other) if process == 0 else (other, owner))

    def with_cleared(self, session: Session) -> "World":
        """Return the world after a clear of a session is known to be applied."""
        return self._replace(cleared=self.cleared.union(session.memory))

    def with_status(self, call: int, status: Status) -> "World":
        """Return the world with what a call's caller was told."""
        return self._replace(statuses=(*self.statuses[:call], status, *self.statuses[call + 1 :]))


def first_world(calls: int) -> World:
    """Return the world before the first call: an entry that has no owner, and an empty session."""
    entry = Entry(0, DEAD, 0, False, 0, None, (), None, NO_KEY)
    return World((EMPTY,), entry, (Owner(), Owner()), statuses=(Status.NEW,) * calls)
