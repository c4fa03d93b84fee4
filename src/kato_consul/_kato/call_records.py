"""Call records: what is known of a session's calls with an idempotency key or a log position.

With a session directory, the entry has the record of a key before a write of its call is sent. So a
takeover finds that write **in flight**: it is in the session if KATO's counter or memory is not the
one of the entry. Otherwise it never will be, unless it teaches the node, which no new session id
prevents: then its outcome is unknown for good.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kato_consul._directory.entry import MAX_ANSWER_BYTES, MAX_KEYS, CallStart, KeyRecord
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.journal import Journal, memory_length
from kato_consul._kato.log_positions import LogPositions
from kato_consul._kato.write import Write


@dataclass(slots=True)
class CallRecords:
    """The calls of one session.

    ``keys`` are the last `MAX_KEYS` of which something may be applied, oldest first. ``sent`` is
    the part that was announced last, until its outcome is known. ``unrecorded``: the entry has to
    be written before the next write is sent.
    """

    keys: dict[str, KeyRecord] = field(default_factory=dict)
    positions: LogPositions = field(default_factory=LogPositions)
    sent: CallPart | None = None
    unrecorded: bool = False

    def announce(self, write: Write[Any], before: Journal, after: Journal) -> None:
        """Record that ``write`` is about to be sent, which leads from ``before`` to ``after``."""
        part = write.part
        self.close(part)
        if write.observations:
            self.positions.come_from(part.position if part is not None else None)
        if part is not None:
            self.sent = part
            if part.key is not None:
                self._announce_key(part, write, before, after)
        if self.positions.unrecorded:
            self.unrecorded = True

    def _announce_key(
        self, part: CallPart, write: Write[Any], before: Journal, after: Journal
    ) -> None:
        assert part.key is not None
        record = self._newest(part.key, part.request)
        self.keys[part.key] = msgspec.structs.replace(
            record,
            in_flight=part.units,
            once_only=write.is_once_only(before),
            time=after.time,
            events=after.events,
            pattern=record.pattern if write.pattern is None else write.pattern.name,
            start=record.start if record.applied else _start(before),
        )
        self.unrecorded = True

    def close(self, pending: CallPart | None) -> None:
        """Record that the part sent last was refused, if it is not ``pending`` and not applied.

        Other writes will have the counters that the entry expects of it, so the entry has to be
        written before the next one.
        """
        part, self.sent = self.sent, None
        if part is None or part is pending:
            self.sent = part
            return
        record = self._record(part)
        if record is None or part.applied or record.unknown:
            return
        self.unrecorded = True
        if record.applied:
            time = record.time - part.observations
            self.keys[record.key] = msgspec.structs.replace(record, in_flight=0, time=time)
        else:
            del self.keys[record.key]

    def applied(self, part: CallPart) -> None:
        """Record that a part was applied. It is the same if this is called again."""
        if part.applied:
            return
        part.applied = True
        record = self._record(part)
        if record is not None:
            done = record.applied + part.units
            self.keys[record.key] = msgspec.structs.replace(
                record, applied=done, in_flight=0, unknown=False
            )
        if part.position is not None:
            self.positions.applied(part.position, part.observations)

    @contextmanager
    def applying(self, part: CallPart) -> Iterator[None]:
        """Record that a part without observations was applied, unless the block fails."""
        record = self._record(part)
        self.applied(part)
        try:
            yield
        except BaseException:
            part.applied = False
            if record is not None:
                self.keys[record.key] = record
            raise

    def confirmed(self, part: CallPart) -> None:
        """Record that the session was owned when a part was seen applied. If that is a learn, its
        message is, whether or not its call comes to its end."""
        if part.position is not None and part.units > part.observations:
            self.positions.learned(part.position)

    def give_up(self, part: CallPart) -> None:
        """Record that it cannot be determined whether a part was applied."""
        record = self._record(part)
        if record is not None and record.in_flight:
            self.keys[record.key] = msgspec.structs.replace(record, unknown=True)
        if part.position is not None and part.units:
            self.positions.give_up(part.position)
        self.unrecorded = True

    def keep(self, earlier: "CallRecords", part: CallPart, applied: bool | None) -> None:
        """Keep what ``earlier`` has of a part that was interrupted, and was ``applied``, or not, or
        None if this is not known. Newer keys may have displaced it from the entry meanwhile."""
        record = None if part.key is None else earlier.keys.get(part.key)
        if record is None or record.key in self.keys:
            return
        if record.in_flight and applied:
            record = msgspec.structs.replace(record, applied=record.applied + record.in_flight)
        elif record.in_flight and (applied is None or record.once_only):
            record = msgspec.structs.replace(record, unknown=True)
        record = msgspec.structs.replace(record, in_flight=0)
        if record.applied or record.unknown:
            self.keys = {record.key: record, **self.keys}

    def answered(
        self, key: str, request: str, units: int, answer: Any, *, keeps_any: bool = False
    ) -> None:
        """Record that a call is applied as a whole, and its answer, unless that is too long and not
        ``keeps_any``."""
        record = self._newest(key, request)
        whole = keeps_any or _is_short(answer)
        learned = () if whole else tuple(answer.get("auto_learned_patterns", ()))
        self.keys[key] = msgspec.structs.replace(
            record,
            applied=units,
            in_flight=0,
            answer=copy.deepcopy(answer) if whole else None,
            learned=learned if _is_short(learned) else (),
        )

    def is_recorded(self) -> None:
        """Record that the entry has all of this."""
        self.unrecorded = self.positions.unrecorded = False
        self.positions.unwritten = 0

    def _record(self, part: CallPart) -> KeyRecord | None:
        return None if part.key is None else self.keys.get(part.key)

    def _newest(self, key: str, request: str) -> KeyRecord:
        """Return the record of a key, which is the newest now; it is made if there is none."""
        record = self.keys.pop(key, None) or KeyRecord(key, request)
        self.keys[key] = record
        while len(self.keys) > MAX_KEYS:
            del self.keys[next(iter(self.keys))]
        return record


def _start(before: Journal) -> CallStart:
    length, rolling = before.auto_learn
    return CallStart(before.time, memory_length(before.events), (length, rolling))


def _is_short(answer: Any) -> bool:
    return len(msgspec.json.encode(answer)) <= MAX_ANSWER_BYTES
