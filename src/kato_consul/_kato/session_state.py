"""What this client knows of one session. Changed only by whoever holds the session's turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kato_consul._kato.journal import Journal
from kato_consul._kato.types import Event
from kato_consul._kato.writes import Write

OnConflict = Literal["repair", "adopt", "raise"]
"""What to do when KATO's session is not what this client left there.

``repair``: put back what the journal holds, if the journal proves that nobody else wrote; otherwise
raise. ``adopt``: take over what is there. ``raise``: raise `SessionConflict`.
"""

CHECK_BEFORE_CALLS_FOR = 60.0
"""Seconds after a write was given up on during which the session is looked at before each call. An
instance that hangs for longer is out of Consul, and usually restarted, by then. Its write is still
remembered for proofs, and found by counter and length, by `stm` and by a learn."""

MOST_IN_FLIGHT = 16
"""Writes remembered as able to land late. One hung instance makes one; more than a few at once
means a fault that no bookkeeping mends."""


@dataclass(frozen=True, slots=True, eq=False)
class InFlightWrite:
    """A write that was given up on with its outcome unknown: it may still land.

    If the instance first reads the session when it wakes, ``write`` is applied on top of whatever
    is there; if it had read the session already, ``before`` with ``write`` on top takes its place.
    """

    write: Write[Any]
    before: Journal
    given_up_at: float


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What became of a session so far.

    ``time`` is KATO's counter as this client last knew it, ``journal`` the observations since the
    last learn or clear, ``instance`` the service id that answered last. ``failovers`` counts
    attempts made again elsewhere; ``settlements`` outcomes that had to be read back; ``repairs``
    times that the session was put back; ``reopened`` times that it was gone and made anew.
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
    """One session of this client's.

    ``id`` is KATO's, None until opened; ``attach`` is that of one that is there already, to go on
    with instead of opening one, or "". ``pending`` is a write whose outcome is not known yet: set
    before it is sent, so that a caller that is cancelled in between leaves a trace of it.
    ``restoring``: KATO's session is being put back, and holds less than the journal meanwhile.
    ``home`` is the uid of the instance where it lives, ``at`` of the one where it is now,
    ``shunned`` of one that hung in this operation; "" for none. ``instance`` answered last.
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
    restoring: bool = False
    in_flight: list[InFlightWrite] = field(default_factory=list)
    attach: str = ""
    primary: str = ""
    current: str = ""
    avoid: str = ""
    instance: str | None = None
    failovers: int = 0
    settlements: int = 0
    repairs: int = 0
    reopened: int = 0

    def facts(self) -> SessionFacts:
        """The facts of this moment."""
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
        """Take over what KATO has: from here on, that is what this client left there."""
        self.journal.time = time
        self.journal.events = len(stm)
        self.journal.entries = [{"strings": list(event)} for event in stm]
        self.restoring = False

    def may_have_late_writes(self, now: float) -> bool:
        """May a write well land still, so that the session is looked at before each call?"""
        return any(now - ghost.given_up_at < CHECK_BEFORE_CALLS_FOR for ghost in self.in_flight)

    def track(self, write: Write[Any], now: float) -> InFlightWrite:
        """Remember that ``write`` may still land."""
        if write.resets:  # one late clear is like another
            self.in_flight = [ghost for ghost in self.in_flight if not ghost.write.resets]
        ghost = InFlightWrite(write, self.journal.copy(), now)
        self.in_flight = [*self.in_flight[1 - MOST_IN_FLIGHT :], ghost]
        return ghost

    def resolve(self, ghost: InFlightWrite) -> None:
        """It has landed, and cannot land again. One clear stands for several: it stays."""
        if not ghost.write.resets:
            self.in_flight.remove(ghost)
