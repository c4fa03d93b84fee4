"""Log positions: which messages of a log are in a session, so that none is applied twice.

A caller that reads a log gives each call the position of its message. A message at or before the
last one applied is not applied again. After a takeover the position is known as of some earlier
write of the entry only. KATO's counter minus the one of then is how many observations came since;
they are those of the messages after it, in their order, since one owner applied them in order. So
exactly so many are passed over when the log is read again from there. So nothing is written for
each message.

That holds if all observations since then come from one partition of one log, and if each message
that was given either made its observations or was recorded. So the entry is written before the
source changes, before the message after one that was not applied, and before and after a learn,
which the counter does not show.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kato_consul._directory.entry import MAX_POSITIONS, LogPosition
from kato_consul.errors import ConfigurationError
from kato_consul.models import Position

CHECKPOINT_AFTER = 1_000
"""Observations after which the entry is written again: as many are read again at most."""

READ_AGAIN = (
    "position: another process has applied messages of this log, and this one may have left some "
    "out. Nothing was sent. Call session.position(), and read the log again after that message"
)

MAX_LOG_LENGTH = 255
"""Characters of a log's name; a topic of Kafka has 249 at most."""

Partition = tuple[str, int]
"""A log's name, and the number of a partition."""


@dataclass(slots=True)
class Track:
    """What is applied of one partition: up to ``offset``, and the next ``ahead`` observations.

    ``count`` observations were made up to ``offset``. ``must_ask``: the caller, which has not been
    told where to go on, may have left out messages. ``given`` is the offset of the last message
    that was given, which is not applied as a whole if it is above ``offset``. ``unknown``: it
    cannot be determined whether it is.
    """

    offset: int = -1
    ahead: int = 0
    count: int = 0
    must_ask: bool = False
    given: int = -1
    unknown: bool = False

    def move(self, offset: int, observations: int) -> None:
        """Record that it is applied up to ``offset``, with so many of the observations ahead."""
        taken = min(self.ahead, observations)
        self.offset, self.ahead, self.count = offset, self.ahead - taken, self.count + taken
        self.unknown = False


@dataclass(slots=True)
class LogPositions:
    """The positions of one session; the partition used last is the last one.

    ``source`` is the partition that the observations since the last write of the entry come from,
    None for calls without a position; ``unwritten`` is their number. ``unrecorded``: the entry has
    to be written before the next observation.
    """

    tracks: dict[Partition, Track] = field(default_factory=dict)
    source: Partition | None = None
    unwritten: int = 0
    unrecorded: bool = False

    def give(self, position: Position) -> Track:
        """Record that a message is given, and return the track of its partition.

        If the caller has gone on without the one before it, that is passed over from here on.

        Raises:
            ConfigurationError: another process has observed what is ahead, and the caller has not
                asked since where to go on: then it is not certain that those are its messages.
        """
        partition = _partition(position)
        track = self.tracks.pop(partition, None) or Track()
        self.tracks[partition] = track
        while len(self.tracks) > MAX_POSITIONS:
            del self.tracks[next(iter(self.tracks))]
        if position.offset <= track.offset:  # the caller reads the log again
            track.must_ask = False
            return track
        if track.must_ask:
            raise ConfigurationError(READ_AGAIN)
        if track.offset < track.given < position.offset:
            track.move(track.given, track.ahead)
            self.unrecorded = True
        track.given = position.offset
        return track

    def come_from(self, position: Position | None) -> None:
        """Record where the next observations come from."""
        source = None if position is None else _partition(position)
        if source != self.source or self.unwritten >= CHECKPOINT_AFTER:
            self.source, self.unrecorded = source, True

    def applied(self, position: Position, observations: int) -> None:
        """Record that observations of the message that was given last are applied."""
        self.unwritten += observations
        track = self._track(position)
        if position.offset > track.offset:
            track.ahead += observations
            track.unknown = False
        else:
            track.count += observations

    def give_up(self, position: Position) -> None:
        """Record that it cannot be determined whether the message is applied."""
        track = self._track(position)
        if position.offset == track.given > track.offset:
            track.unknown = True

    def complete(self, position: Position, observations: int, *, learns: bool) -> None:
        """Record that a message is applied as a whole, with its observations and its learn."""
        track = self._track(position)
        if position.offset > track.offset:
            track.move(position.offset, observations)
            if learns:
                self.unrecorded = True

    def learned(self, position: Position) -> None:
        """Record that the learn of a message is applied. It ends the message, whose observations
        are all that are ahead."""
        self.complete(position, self._track(position).ahead, learns=True)

    def as_recorded(self) -> tuple[LogPosition, ...]:
        """Return the positions for an entry."""
        return tuple(
            LogPosition(
                log,
                partition,
                track.offset,
                track.ahead,
                track.count,
                track.given if track.unknown else -1,
            )
            for (log, partition), track in self.tracks.items()
        )

    def newest(self, log: str | None) -> Position | None:
        """Return the position up to which a log, or the one used last, is applied: the caller goes
        on there."""
        for (name, partition), track in reversed(self.tracks.items()):
            if log in (None, name):
                track.must_ask = False
                return Position(name, partition, track.offset) if track.offset >= 0 else None
        return None

    def remember(self, earlier: "LogPositions") -> None:
        """Go on from what this process has applied itself before another took the session over: it
        may know more than the entry had, and its caller reads on from there."""
        for partition, known in earlier.tracks.items():
            track = self.tracks.get(partition)
            if track is None:
                continue
            if track.given <= known.offset:
                track.unknown = False
            if not track.unknown:
                track.given = max(track.given, known.given)
            if known.offset <= track.offset:
                continue
            ahead = track.count + track.ahead - known.count
            if ahead < 0:  # KATO has lost what was observed since the entry was written
                track.must_ask = True
                continue
            track.offset, track.ahead, track.count = known.offset, ahead, known.count
            track.must_ask = False
            self.unrecorded = True  # a message up to there may have been left out

    def _track(self, position: Position) -> Track:
        return self.tracks.setdefault(_partition(position), Track())


def restored_positions(
    positions: Iterable[LogPosition], source: Partition | None, *, since: int = 0
) -> LogPositions:
    """Return the positions of a session that another process has left.

    ``since`` is the number of observations since they were recorded, which come from ``source``.
    """
    result = LogPositions(source=source)
    for one in positions:
        result.tracks[one.log, one.partition] = Track(
            one.offset,
            one.ahead,
            one.count,
            given=max(one.offset, one.unknown),
            unknown=one.unknown >= 0,
        )
    if source is not None and since:
        result.tracks.setdefault(source, Track()).ahead += since
    for track in result.tracks.values():
        track.must_ask = track.ahead > 0
    return result


def checked_position(position: Any) -> Position | None:
    """Return the position.

    Raises:
        ConfigurationError: it is none, its log is no name, or its offset or partition is no whole
            number from 0.
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
    if not isinstance(log, str) or not 0 < len(log) <= MAX_LOG_LENGTH:
        raise ConfigurationError(
            f"log of a position must be the name of a log, such as a topic, of 1 to "
            f"{MAX_LOG_LENGTH} characters"
        )
    return position


def _partition(position: Position) -> Partition:
    return position.log, position.partition
