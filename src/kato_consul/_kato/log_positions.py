"""Log positions: which messages of a log are in a session, so that none is applied twice.

A caller that reads a log gives each call the position of its message. A message at or before the
last one applied is not applied again. After a takeover the position is known as of some earlier
write of the entry only. KATO's counter minus the one of then is how many observations came since;
they are those of the messages after it, in their order, since one owner applied them in order. So
exactly so many are passed over when the log is read again from there.

That holds if all observations since then come from one partition of one log, and if each message
that was passed to a call either made its observations or was recorded. So the entry is written
before the source changes, and before the message after one that was not applied.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kato_consul._directory.entry import MAX_POSITIONS, LogPosition
from kato_consul.errors import ConfigurationError
from kato_consul.models import Position

Partition = tuple[str, int]
"""A log's name, and the number of a partition."""


@dataclass(slots=True)
class Track:
    """What is applied of one partition: up to ``offset``, and the next ``ahead`` observations.

    ``failed`` is the offset of a message that was not applied.
    """

    offset: int = -1
    ahead: int = 0
    failed: int | None = None


@dataclass(slots=True)
class LogPositions:
    """The positions of one session.

    ``source`` is the partition that the observations since the last write of the entry come from,
    None for calls without a position; ``writing`` is that of the write in hand. ``passed`` is False
    if the entry has to be written before the next write.
    """

    tracks: dict[Partition, Track] = field(default_factory=dict)
    source: Partition | None = None
    writing: Partition | None = None
    passed: bool = True

    @property
    def recorded(self) -> bool:
        """True if the next write needs no earlier write of the entry."""
        return self.passed and self.writing == self.source

    def track(self, position: Position) -> Track:
        """Return the track of a position's partition."""
        partition = (position.log, position.partition)
        track = self.tracks.pop(partition, None) or Track()
        self.tracks[partition] = track  # the newest is last
        while len(self.tracks) > MAX_POSITIONS:
            self.tracks.pop(next(iter(self.tracks)))
        if track.failed is not None and position.offset > track.failed:
            # The caller has gone on without it: it is passed over from here on.
            track.offset, track.failed = max(track.offset, track.failed), None
            self.passed = False
        return track

    def passed_over(self, position: Position, observations: int, units: int) -> int:
        """Return how many units of a message are in the session already. (Its learn is only if its
        offset is: a learn does not change KATO's counter.)"""
        track = self.track(position)
        return units if position.offset <= track.offset else min(track.ahead, observations)

    def complete(self, position: Position, observations: int) -> None:
        """Record that a message is applied, with its observations."""
        track = self.track(position)
        if position.offset > track.offset:
            track.ahead = max(0, track.ahead - observations)
            track.offset, track.failed = position.offset, None

    def begin(self, position: Position | None) -> None:
        """Record where the next write comes from."""
        self.writing = None if position is None else (position.log, position.partition)

    def is_recorded(self) -> None:
        """Record that the entry has the positions as they are now."""
        self.source, self.passed = self.writing, True

    def as_recorded(self) -> tuple[LogPosition, ...]:
        """Return the positions for an entry."""
        return tuple(
            LogPosition(log, partition, track.offset, track.ahead)
            for (log, partition), track in self.tracks.items()
        )

    def newest(self, log: str | None) -> Position | None:
        """Return the position up to which a log, or the one used last, is applied."""
        for (name, partition), track in reversed(self.tracks.items()):
            if log in (None, name) and track.offset >= 0:
                return Position(name, partition, track.offset)
        return None


def restored_positions(
    positions: Iterable[LogPosition],
    source: Partition | None,
    *,
    since: int = 0,
    learned: LogPosition | None = None,
) -> LogPositions:
    """Return the positions of a session that another process has left.

    ``since`` is the number of observations since they were recorded, which come from ``source``.
    ``learned`` is the message whose learn was applied since.
    """
    result = LogPositions(source=source)
    for one in positions:
        result.tracks[one.log, one.partition] = Track(one.offset, one.ahead)
    if learned is not None:
        result.tracks[learned.log, learned.partition] = Track(learned.offset)
    if source is not None and since:
        result.tracks.setdefault(source, Track()).ahead += since
    return result


def checked_position(position: Any) -> Position | None:
    """Return the position.

    Raises:
        ConfigurationError: it is none, or its offset or partition is no whole number from 0.
    """
    if position is None:
        return None
    if not isinstance(position, Position):
        raise ConfigurationError(f"position must be a Position, not {type(position).__name__}")
    for name in ("partition", "offset"):
        value = getattr(position, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ConfigurationError(
                f"{name} of a position must be a whole number from 0, not {value!r}"
            )
    log: object = position.log
    if not isinstance(log, str) or not log:
        raise ConfigurationError("log of a position must be the name of a log, such as a topic")
    return position
