"""Call records: what is known of a session's calls with an idempotency key or a log position.

A call has **units**: its observations, and one for a learn. What is recorded of it is how many of
its units are in the session. With a session directory, a call with a key is in the entry before its
units are sent, with the counter that KATO will have then: a takeover determines from that whether
they are in.
"""

from dataclasses import dataclass, field

import msgspec

from kato_consul._directory.entry import MAX_KEYS, KeyRecord
from kato_consul._kato.journal import Journal
from kato_consul._kato.log_positions import LogPositions
from kato_consul.models import Position

NEVER = 2**62
"""A counter that KATO does not reach."""


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """A write without an outcome: its call, the number of its units, and of its observations."""

    key: str | None
    position: Position | None
    units: int
    observations: int


@dataclass(slots=True)
class CallRecords:
    """The calls of one session.

    ``keys`` are the last ones with a key, oldest first. ``open`` are writes without an outcome.
    ``current`` is the write in hand, if its call has a key or a position. ``recorded`` is False if
    the entry has to be written before the next write.
    """

    keys: dict[str, KeyRecord] = field(default_factory=dict)
    positions: LogPositions = field(default_factory=LogPositions)
    open: dict[object, OpenWrite] = field(default_factory=dict)
    current: OpenWrite | None = None
    recorded: bool = True

    def record_of(self, key: str, request: str) -> KeyRecord:
        """Return the record of a key, which is the newest now; it is made if there is none."""
        record = self.keys.pop(key, None) or KeyRecord(key, request)
        self.keys[key] = record
        answered = [one for one, kept in self.keys.items() if kept.answer is not None]
        for one in answered[: len(self.keys) - MAX_KEYS]:  # those without an answer are needed
            del self.keys[one]
        return record

    def begin(self, write: OpenWrite) -> None:
        """Record that a write of a call is in hand."""
        self.current = write
        self.positions.begin(write.position)

    def end(self) -> None:
        """Record that none is in hand."""
        self.current = None
        self.positions.begin(None)

    def before_send(self, after: Journal, *, resets: bool) -> bool:
        """Record what is about to be sent, and return whether the entry has to be written first.

        ``after`` is the journal with it. ``resets``: it sets KATO's counter back, which then shows
        nothing of earlier writes.
        """
        if resets:
            for key, record in self.keys.items():
                if record.count:
                    self.keys[key] = msgspec.structs.replace(record, time=NEVER)
        current = self.current
        if current is not None and current.key in self.keys:
            record = self.keys[current.key]
            self.keys[current.key] = msgspec.structs.replace(
                record, count=current.units, time=after.time, events=after.events
            )
            return True
        return not self.recorded or not self.positions.recorded

    def is_recorded(self) -> None:
        """Record that the entry has all of this."""
        self.recorded = True
        self.positions.is_recorded()

    def applied(self, write: OpenWrite) -> None:
        """Record that a write was applied."""
        if write.key in self.keys:
            record = self.keys[write.key]
            done = record.applied + write.units
            self.keys[write.key] = msgspec.structs.replace(record, applied=done, count=0)
        if write.position is not None:
            self.positions.track(write.position).ahead += write.observations

    def refused(self, write: OpenWrite) -> None:
        """Record that a write was not applied. Other writes will have the counters that are in the
        entry, so it has to be written before the next one."""
        if write.key in self.keys:
            self.keys[write.key] = msgspec.structs.replace(self.keys[write.key], count=0)
            self.recorded = False
        if write.position is not None:
            self.positions.track(write.position).failed = write.position.offset

    def settled(self, write: object, *, applied: bool) -> None:
        """Record the outcome of a write, if it is one that had none."""
        left = self.open.pop(write, None)
        if left is not None:
            (self.applied if applied else self.refused)(left)
