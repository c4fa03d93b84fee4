"""Session state: the journal, the pending write and the placement of one session.

It is changed only while the session's lock is held.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kato_consul._kato.journal import EMPTY, Journal
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.session_options import NO_OPTIONS, OnConflict, SessionOptions
from kato_consul._kato.shared_nodes import SharedNodes
from kato_consul._kato.types import Event
from kato_consul._kato.write import ReadBack, Write
from kato_consul.errors import KatoConsulError, OutcomeUnknown

MAX_INTERRUPTED = 1_000
"""Patterns that a client remembers because a learn of them has no outcome: some 200 kB."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Counters and identifiers of a session, at one moment.

    ``key`` is the caller's key, ``id`` KATO's id of the session, None until it is opened. ``time``
    is KATO's counter as this client expects it, ``journal`` the number of observations since the
    last learn or clear, ``instance`` the uid of the instance that responded last, None before the
    first response.

    ``failovers`` counts attempts repeated on another instance, ``settlements`` unknown outcomes
    that were read back, ``repairs`` restorations from the journal, ``reopened`` sessions created in
    place of one that KATO had lost, and ``moves`` sessions created in place of one in which a write
    might still be applied late.

    With a session directory: ``owner`` is this process, ``host:pid``, while it owns the session,
    otherwise None. ``epoch`` counts the acquisitions of the session by any process. ``takeovers``
    counts those by this process from one that had not released it, ``waits`` those for which it
    waited for another process. ``replayed_without_emotives``: at a takeover, the emotives and
    metadata of the last observations of the former owner were lost.
    """

    key: str
    id: str | None
    time: int
    journal: int
    instance: str | None
    failovers: int
    settlements: int
    repairs: int
    reopened: int
    moves: int
    owner: str | None = None
    epoch: int = 0
    takeovers: int = 0
    waits: int = 0
    replayed_without_emotives: bool = False


@dataclass(frozen=True, slots=True)
class DoubtfulLearn:
    """A learn that may still be applied, in a session that was left because of it.

    While the memory is still the one that it would learn, the same learn is not sent again.
    """

    write: Write[Any]
    generation: int
    events: int

    def is_about(self, journal: Journal) -> bool:
        """Return whether the memory is the one that this learn would learn."""
        return (self.generation, self.events) == (journal.generation, journal.events)


@dataclass(slots=True)
class SessionState:
    """The mutable state of one session.

    ``attach_id`` is the id of an existing session to attach to instead of opening one, or "".
    ``refused`` is the error with which KATO refused to open it: it is not tried again.
    ``attached``: KATO's session was created by another client, and is never deleted on its own.
    ``ends_at``: when KATO ends the session unless it is used before, on the client's clock, if no
    other one may be opened for its key then, or after it was deleted: the key is KATO's own id of
    it. Otherwise None.
    ``ttl`` is in seconds. ``owns_node``: its node is its own, unless another session of the client
    was given it by name (``nodes``). ``interrupted`` are the patterns, by node and name, of
    which a learn has no outcome: KATO may have counted them without storing them. Both belong to
    the client.

    ``journal`` is what KATO's session must have. ``unsaved`` is the journal before the last
    acknowledged learn, until a response shows that KATO has saved it; else None. ``store_loses``:
    a response did not show what was acknowledged before. Until a write was seen to be saved, each
    is read back.

    ``pending`` is the write whose outcome is not known yet. It is set before the write is sent, so
    that it is still known after the caller was cancelled or interrupted. ``unknown`` is the error
    of its last attempt, if it ended with one. ``doubtful_learn`` is a learn whose outcome could not
    be determined. ``deleting``: a delete was sent, and its outcome is not known.
    ``request_in_flight``: False if the caller was cancelled before a request had left.
    ``reporting``: a call reports its progress, and the session is between two of its parts.

    Instances, by uid ("" for none): ``primary`` is the session's primary, ``current`` the one that
    serves it now, ``avoid`` one that hung during this operation. ``instance`` is the one that
    responded last.

    ``ownership`` is what is known of the session's owners, if there is a session directory.
    """

    key: str
    node_id: str
    metadata: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    ttl: int | None = None
    on_conflict: OnConflict = "repair"
    owns_node: bool = False
    nodes: SharedNodes = field(default_factory=SharedNodes)
    interrupted: dict[tuple[str, str], None] = field(default_factory=dict)
    options: SessionOptions = NO_OPTIONS
    journal: Journal = field(default_factory=Journal)
    unsaved: Journal | None = None
    store_loses: bool = False
    pending: Write[Any] | None = None
    unknown: OutcomeUnknown | None = None
    doubtful_learn: DoubtfulLearn | None = None
    deleting: bool = False
    request_in_flight: bool = False
    reporting: bool = False
    attach_id: str = ""
    refused: KatoConsulError | None = None
    attached: bool = False
    ends_at: float | None = None
    primary: str = ""
    current: str = ""
    avoid: str = ""
    instance: str | None = None
    failovers: int = 0
    settlements: int = 0
    repairs: int = 0
    reopened: int = 0
    moves: int = 0
    ownership: Ownership | None = None

    def facts(self) -> SessionFacts:
        """Return a copy of the counters and identifiers as they are now."""
        own = self.ownership or Ownership()
        return SessionFacts(
            key=self.key,
            id=self.id,
            time=self.journal.time,
            journal=len(self.journal),
            instance=self.instance,
            failovers=self.failovers,
            settlements=self.settlements,
            repairs=self.repairs,
            reopened=self.reopened,
            moves=self.moves,
            owner=own.held.entry.owner_label if own.held else None,
            epoch=own.epoch,
            takeovers=own.takeovers,
            waits=own.waits,
            replayed_without_emotives=own.lossy,
        )

    @property
    def id(self) -> str | None:
        """KATO's id of the session, None until it is opened."""
        return self.journal.session_id

    @property
    def stays(self) -> bool:
        """True if KATO's session is not left, so that a write that was given up on may come late.

        Other writers are expected in it, or the journal cannot restore it.
        """
        return self.on_conflict == "adopt" or not self.journal.complete

    @property
    def teaches_alone(self) -> bool:
        """True if no other session teaches the node."""
        return self.owns_node and not self.attached and self.node_id not in self.nodes.named

    def note_interrupted(self, pattern: PatternCount) -> None:
        """Record that a learn of the pattern has no outcome."""
        self.interrupted[self.node_id, pattern.name] = None
        while len(self.interrupted) > MAX_INTERRUPTED:
            self.interrupted.pop(next(iter(self.interrupted)), None)

    def note_applied(self, write: Write[Any]) -> None:
        """Record of the call that the write is a part of that it was applied."""
        own = self.ownership
        if write.part is not None and own is not None and own.calls is not None:
            own.calls.applied(write.part)

    @contextmanager
    def noting_applied(self, write: Write[Any] | None) -> Iterator[None]:
        """Do the same, unless the block fails."""
        own = self.ownership
        part = None if write is None else write.part
        if part is None or part.applied or own is None or own.calls is None:
            yield
            return
        with own.calls.applying(part):
            yield

    def note_confirmed(self, write: Write[Any]) -> None:
        """Record of that call that the session was owned when the write was seen applied."""
        own = self.ownership
        if write.part is not None and own is not None and own.calls is not None:
            own.calls.confirmed(write.part)

    def note_unknown(self, write: Write[Any]) -> None:
        """Record of that call that it will never be known whether the write was applied."""
        own = self.ownership
        if write.part is not None and own is not None and own.calls is not None:
            own.calls.give_up(write.part)

    def commit(self, after: Journal, write: Write[Any]) -> None:
        """Record that the pending write was applied, and led to ``after``.

        It is one assignment. If the caller is interrupted before `settle`, `is_applied` is True.
        """
        after.last_write = write
        self.journal = after
        if write.part is not None:
            self.note_applied(write)

    def read_back(self, before: Journal | None = None) -> ReadBack:
        """Return what is known of a write that led from ``before`` to the journal."""
        return ReadBack(self.id or "", self.node_id, before, self.journal)

    @property
    def is_applied(self) -> bool:
        """True if the pending write is already part of the journal."""
        return self.pending is not None and self.pending is self.journal.last_write

    def settle(self) -> None:
        """Record that no write is pending any more."""
        if self.pending is not None and self.pending.part is not None and self.is_applied:
            self.note_confirmed(self.pending)
        self.pending = self.unknown = None
        self.journal.last_write = None

    def adopt(self, time: int, stm: Sequence[Event]) -> None:
        """Set the journal to KATO's state: the client continues from there."""
        self.journal = self.journal.adopted(time, stm)
        self.unsaved = None
        if self.ownership is not None and self.ownership.calls is not None:
            self.ownership.calls.unrecorded = True  # the counter has another source

    def has_expired(self, now: float) -> bool:
        """Return whether KATO has ended the session by now, and no other may take its place."""
        return self.ends_at is not None and now >= self.ends_at

    def close(self) -> None:
        """Forget KATO's session, which has ended. The next call opens another one."""
        self.journal = Journal(self.journal.config)
        self.unsaved = self.pending = self.doubtful_learn = None
        self.deleting = self.attached = False
        if self.ownership is not None:
            self.ownership.lacks = False
