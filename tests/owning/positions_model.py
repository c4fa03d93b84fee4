"""A model of positions: what of a log a session has, found from KATO's counter after a crash.

Ownership is another model's subject: here a takeover, a switch of the id and a write of the record
are one step each. What a dead owner sent is applied before the takeover, or never.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from tests.owning.search import Label, ViolationError

FOREIGN_CALL = -1
"""An observation that is not of the log, in memory and history."""


class PositionRule(Enum):
    """A rule that the model keeps, unless it is told to leave it out."""

    TICKS = "a message counts as many ticks as it has observations"
    REFUSED_RECORDED = "the record is written after a refused message, before the next one"
    LEARN_MARKED = "a learn is marked in the record before it is sent"
    LEARN_RECORDED = "the record is written after a learn, before anything else"
    CLEAR_MARKED = "a clear is marked in the record before it is sent"
    CLEAR_RECORDED = "the record is written after a clear, before anything else"
    AUTO_LEARN_MARKED = "an observation with which KATO learns is marked before it is sent"
    FOREIGN_MARKED = "the record is marked before another source observes"
    FOREIGN_RECORDED = "the record is written after another source, before the log goes on"
    NEW_ID_MOVES = "the record moves in the CAS that switches the id"
    JOURNAL_RECORDED = "the record and the journal are written in one CAS"
    COMMIT_CHECKPOINT = "offsets are committed up to the record only"


class Message(NamedTuple):
    """A message of the log: "observe", "refused", "auto", "learn" or "clear".

    "auto" is an observation with which KATO learns by itself. ``observations`` are the ticks that
    are expected of it.
    """

    kind: str
    observations: int = 0


class Record(NamedTuple):
    """The record in the entry: the position, and the counter that KATO had there.

    ``mark``: what may have been sent since, if not the messages of the log. ``history`` is what the
    session had been given then: only the model's checks use it.
    """

    position: int = 0
    counter: int = 0
    mark: str = ""
    journal: tuple[int, ...] = ()
    history: tuple[int, ...] = ()


class Progress(NamedTuple):
    """KATO's session, the record, and the consumer of the log.

    ``phase`` is "stopped", "lost" (stopped, and KATO has lost the session), "ready", "sent",
    "counted", "applied", "record" or "foreign sent". ``history`` are the messages in effect,
    ``counted`` those that KATO counted a pattern for, ``told`` those with an unknown outcome.
    """

    counter: int = 0
    memory: tuple[int, ...] = ()
    record: Record = Record()
    phase: str = "stopped"
    position: int = 0
    committed: int = 0
    foreign: int = 0
    history: tuple[int, ...] = ()
    counted: tuple[int, ...] = ()
    told: frozenset[int] = frozenset()


class PositionsModel:
    """A consumer of one log, without the rules of ``without``."""

    def __init__(
        self,
        log: Sequence[Message],
        foreign_calls: int = 0,
        without: frozenset[PositionRule] = frozenset(),
    ) -> None:
        self.log = tuple(log)
        self.foreign_calls = foreign_calls
        self.without = without

    def start(self) -> Progress:
        """Return the state before the consumer starts."""
        return Progress()

    def canonical(self, s: Progress) -> Progress:
        """Return the state itself: all of it matters."""
        return s

    def is_finished(self, s: Progress) -> bool:
        """Return whether the log is consumed."""
        return s.phase == "ready" and s.position == len(self.log)

    def line(self, label: Label, s: Progress) -> str:
        """Return a line of a trace."""
        text, _, message = label
        what = text if message < 0 else f"{text} (message {message})"
        record = f"{s.record.position} at counter {s.record.counter} {s.record.mark}"
        return f"{what:44} counter {s.counter}, memory {list(s.memory)}; record: {record}"

    def broken_promise(self, s: Progress) -> str | None:
        """Return the promise that a state breaks, or None."""
        done = [number for number in s.history if number != FOREIGN_CALL]
        all_done = [n for n, message in enumerate(self.log) if message.kind != "refused"]
        if done != all_done[: len(done)]:
            return "a message is applied twice, or left out"
        if s.phase == "ready" and done != [n for n in all_done if n < s.position]:
            return "the position is not that of the session"
        if len(set(s.counted)) != len(s.counted):
            return "a pattern is counted twice"
        return None

    def steps(self, s: Progress) -> Iterator[tuple[int, Label, Progress]]:
        """Yield all that can happen next."""
        here = s.position
        if s.phase in ("stopped", "lost"):
            yield 0, ("takes over", 0, -1), self._take_over(s)
            return
        if s.phase == "ready":
            yield from self._ready_steps(s)
        elif s.phase == "record":
            yield 0, ("writes the record", 0, here), self._recorded(s, "")._replace(phase="ready")
        elif s.phase == "foreign sent":
            applied = s._replace(
                phase="ready",
                counter=s.counter + 1,
                memory=(*s.memory, FOREIGN_CALL),
                history=(*s.history, FOREIGN_CALL),
            )
            yield 0, ("KATO applies another call", 0, -1), applied
        elif s.phase == "applied":
            yield 0, ("gets the answer", 0, here), self._answered(s)
        else:
            yield 0, ("KATO works on", 0, here), self._apply(s)
            yield 1, ("gets no answer, and leaves the id", 0, here), self._leave(s)
        yield 1, ("crashes", 0, -1), s._replace(phase="stopped", position=0)
        yield 1, ("crashes, and the id is lost", 0, -1), s._replace(phase="lost", position=0)

    def _ready_steps(self, s: Progress) -> Iterator[tuple[int, Label, Progress]]:
        here, mark = s.position, s.record.mark
        if mark in ("", "foreign") and s.record.position < here:
            yield 0, ("writes a checkpoint", 0, here), self._recorded(s, "")
        offset = s.record.position if self._has(PositionRule.COMMIT_CHECKPOINT) else here
        if s.committed < offset:
            yield 0, ("commits the offset", 0, offset), s._replace(committed=offset)
        if s.foreign < self.foreign_calls and mark in ("", "foreign"):
            if mark != "foreign" and self._has(PositionRule.FOREIGN_MARKED):
                yield 0, ("marks another source", 0, here), self._recorded(s, "foreign")
            else:
                sent = s._replace(phase="foreign sent", foreign=s.foreign + 1)
                yield 0, ("sends another call", 0, -1), sent
        if here == len(self.log):
            return
        needed = self._mark_of(self.log[here])
        if mark == "foreign" and not needed and self._has(PositionRule.FOREIGN_RECORDED):
            yield 0, ("writes the record", 0, here), self._recorded(s, "")
        elif needed and mark != needed:
            yield 0, (f"marks {needed}", 0, here), self._recorded(s, needed)
        else:
            yield 0, ("sends", 0, here), s._replace(phase="sent")

    def _has(self, rule: PositionRule) -> bool:
        return rule not in self.without

    def _mark_of(self, message: Message) -> str:
        rule = {
            "learn": PositionRule.LEARN_MARKED,
            "clear": PositionRule.CLEAR_MARKED,
            "auto": PositionRule.AUTO_LEARN_MARKED,
        }.get(message.kind)
        return message.kind if rule is not None and self._has(rule) else ""

    def _recorded(self, s: Progress, mark: str) -> Progress:
        kept = s.record
        if self._has(PositionRule.JOURNAL_RECORDED):
            kept = kept._replace(journal=s.memory, history=s.history)
        return s._replace(record=kept._replace(position=s.position, counter=s.counter, mark=mark))

    def _apply(self, s: Progress) -> Progress:
        """KATO does the next part of a request: it counts a pattern before it saves the session."""
        here = s.position
        message = self.log[here]
        if message.kind == "refused":
            s = s._replace(position=here + 1)
            recorded = self._has(PositionRule.REFUSED_RECORDED)
            return s._replace(phase="record" if recorded else "ready")
        if message.kind in ("learn", "auto") and s.phase == "sent":
            return s._replace(phase="counted", counted=(*s.counted, here))
        memory = (*s.memory, *[here] * message.observations)
        return s._replace(
            phase="applied",
            counter=0 if message.kind == "clear" else s.counter + message.observations,
            memory=memory if message.kind == "observe" else (),
            history=(*s.history, here),
        )

    def _answered(self, s: Progress) -> Progress:
        rule = {
            "learn": PositionRule.LEARN_RECORDED,
            "clear": PositionRule.CLEAR_RECORDED,
            "auto": PositionRule.AUTO_LEARN_MARKED,
        }.get(self.log[s.position].kind)
        phase = "record" if rule is not None and self._has(rule) else "ready"
        return s._replace(phase=phase, position=s.position + 1)

    def _leave(self, s: Progress) -> Progress:
        """The owner continues in a new id, from its own memory: the write is not applied."""
        if self.log[s.position].kind in ("learn", "auto"):
            s = self._unknown(s)
        return self._moved(s)

    def _unknown(self, s: Progress) -> Progress:
        """A learn that may be counted is not sent again; its observations are not lost with it."""
        here = s.position
        return s._replace(
            told=s.told | {here},
            memory=(*s.memory, *[here] * self.log[here].observations),
            history=(*s.history, here),
            position=here + 1,
        )

    def _moved(self, s: Progress) -> Progress:
        """Return the state in a new id with the memory: its counter starts anew."""
        s = s._replace(phase="ready", counter=len(s.memory))
        return self._recorded(s, "") if self._has(PositionRule.NEW_ID_MOVES) else s

    def _take_over(self, s: Progress) -> Progress:
        """A new owner finds the position, and continues in a new id."""
        record = s.record
        at_record = s._replace(position=record.position)
        if s.phase == "lost":
            s = at_record._replace(
                counter=record.counter, memory=record.journal, history=record.history
            )
            if record.mark in ("learn", "auto"):
                s = self._unknown(s)
        elif record.mark == "clear":
            cleared = s.counter == 0
            s = at_record._replace(position=record.position + cleared)
        elif record.mark in ("learn", "auto"):
            ticks = self.log[record.position].observations
            if s.counter == record.counter + ticks and not s.memory:
                s = at_record._replace(position=record.position + 1)
            else:
                s = self._unknown(at_record)
        elif record.mark == "foreign":
            s = at_record
        else:
            s = s._replace(position=self._walk(record, s.counter))
        # The broker no longer delivers what was committed.
        return self._moved(s._replace(position=max(s.position, s.committed)))

    def _walk(self, record: Record, counter: int) -> int:
        """Return the position that KATO's counter shows."""
        ticks, position = counter - record.counter, record.position
        while ticks > 0:
            if position == len(self.log):
                raise ViolationError("the counter has more ticks than the log")
            expected = self.log[position].observations
            ticks -= expected if self._has(PositionRule.TICKS) else 1
            position += 1
        if ticks < 0:
            raise ViolationError("the counter shows a part of a message, or is behind the record")
        return position
