"""Session state: the journal, the pending write and the placement of one session.

It is changed only while the session's lock is held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kato_consul._kato.journal import Journal
from kato_consul._kato.types import Event
from kato_consul._kato.writes import Write

OnConflict = Literal["repair", "adopt", "raise"]
"""What to do if KATO's session is not in the state in which this client left it.

``repair``: restore it from the journal if the journal proves that no other writer changed it;
otherwise raise `SessionConflict`. ``adopt``: continue from KATO's state. ``raise``: raise
`SessionConflict`.
"""

CHECK_BEFORE_CALLS_FOR = 60.0
"""Seconds after a write was given up on during which the session is read before each call. An
instance that hangs for longer is critical in Consul by then, and usually restarted. Its write is
still kept for proofs, and is detected by counter and length, by `stm` and by a learn."""

MAX_IN_FLIGHT_WRITES = 16
"""In-flight writes that are kept. One hung instance causes one; more than a few at once mean a
fault that bookkeeping cannot repair."""


@dataclass(frozen=True, slots=True, eq=False)
class InFlightWrite:
    """A write that was given up on with an unknown outcome: it may still be applied.

    If the hung instance had not read the session yet, ``write`` is applied on top of the session's
    state when it resumes. If it had, its result (``before`` with ``write`` on top) replaces that
    state. ``given_up_at`` is in seconds on the client's clock.
    """

    write: Write[Any]
    before: Journal
    given_up_at: float


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Counters and identifiers of a session, at one moment.

    ``key`` is the caller's key, ``id`` KATO's id of the session, None until it is opened. ``time``
    is KATO's counter as this client expects it, ``journal`` the number of observations since the
    last learn or clear, ``instance`` the uid of the instance that responded last, None before the
    first response.

    ``failovers`` counts attempts repeated on another instance, ``settlements`` unknown outcomes
    that were read back, ``repairs`` restorations from the journal, and ``reopened`` sessions
    created in place of one that KATO had lost.
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


@dataclass(slots=True)
class SessionState:
    """The mutable state of one session.

    ``id`` is KATO's id of the session, None until it is opened. ``attach_id`` is the id of an
    existing session to attach to instead of opening one, or "". ``ttl`` is in seconds.

    ``pending`` is the write whose outcome is not known yet. It is set before the write is sent, so
    that it is still known after the caller was cancelled. ``repairing``: KATO's session is being
    restored, and holds less than the journal until that is done. ``in_flight`` are the writes that
    were given up on and may still be applied.

    Instances, by uid ("" for none): ``primary`` is the session's primary, ``current`` the one that
    serves it now, ``avoid`` one that hung during this operation. ``instance`` is the one that
    responded last.
    """

    key: str
    node_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    ttl: int | None = None
    on_conflict: OnConflict = "repair"
    id: str | None = None
    journal: Journal = field(default_factory=Journal)
    pending: Write[Any] | None = None
    repairing: bool = False
    in_flight: list[InFlightWrite] = field(default_factory=list)
    attach_id: str = ""
    primary: str = ""
    current: str = ""
    avoid: str = ""
    instance: str | None = None
    failovers: int = 0
    settlements: int = 0
    repairs: int = 0
    reopened: int = 0

    def facts(self) -> SessionFacts:
        """Return a copy of the counters and identifiers as they are now."""
        return SessionFacts(
            key=self.key,
            id=self.id,
            time=self.journal.time,
            journal=len(self.journal.entries),
            instance=self.instance,
            failovers=self.failovers,
            settlements=self.settlements,
            repairs=self.repairs,
            reopened=self.reopened,
        )

    def adopt(self, time: int, stm: Sequence[Event]) -> None:
        """Set the journal to KATO's state: the client continues from there."""
        self.journal.time = time
        self.journal.events = len(stm)
        self.journal.entries = [{"strings": list(event)} for event in stm]
        self.repairing = False

    def may_have_late_writes(self, now: float) -> bool:
        """Return whether a late write is likely enough to read the session before each call."""
        return any(now - late.given_up_at < CHECK_BEFORE_CALLS_FOR for late in self.in_flight)

    def track(self, write: Write[Any], now: float) -> InFlightWrite:
        """Record that ``write`` may still be applied. ``now`` is the client's clock, in seconds."""
        if write.resets:  # late clears are all alike: one entry is enough
            self.in_flight = [late for late in self.in_flight if not late.write.resets]
        late_write = InFlightWrite(write, self.journal.copy(), now)
        self.in_flight = [*self.in_flight[1 - MAX_IN_FLIGHT_WRITES :], late_write]
        return late_write

    def resolve(self, late_write: InFlightWrite) -> None:
        """Record that the write was applied and cannot be applied again.

        The entry of a clear may stand for several of them, so it is kept.
        """
        if not late_write.write.resets:
            self.in_flight.remove(late_write)
