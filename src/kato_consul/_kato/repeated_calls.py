"""Repeated calls: calls with an idempotency key or a log position, which may be made again, in this
process or another, and are applied once.

A repetition goes on with what is not in the session. If this is not known of a part, that is
settled first, or the repetition ends with `OutcomeUnknown`, as the first call did. What teaches the
node is never sent again then.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kato_consul._directory.entry import KeyRecord
from kato_consul._flow import Flow
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.execute import prepare, settle
from kato_consul._kato.journal import AutoLearn, Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import (
    LeaseLost,
    Ownership,
    lost_before_answer,
    resume,
)
from kato_consul._kato.pattern_store import PREFIX
from kato_consul._kato.reconcile import read_memory
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import ReadBack, Write
from kato_consul.errors import (
    IdempotencyKeyReused,
    KatoConsulError,
    OutcomeUnknown,
    SessionConflict,
)
from kato_consul.models import Position

R = TypeVar("R")

MakePart = Callable[[int, int], CallPart | None]
"""Returns the part of a call with so many units, of which so many are observations; None if the
call cannot be repeated."""


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier call did: ``done`` units.

    ``journal`` has the counters that KATO had then, ``start`` those before the call, if they are
    known. ``learned`` are the names of the patterns that KATO learned by itself, as far
    as they are known, and ``pattern`` is that of what the call has learned, "" if it is not known.
    """

    done: int
    journal: Journal
    start: Journal | None = None
    learned: Sequence[str] = ()
    pattern: str = ""

    def read_back(self, state: SessionState, after: Journal | None = None) -> ReadBack:
        """Return what is known of its writes, which led to ``after``, if given."""
        journal = after or self.journal
        return ReadBack(state.id or "", state.node_id, self.start, journal, self.learned)


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A call that may be made again.

    ``what`` names it, ``request`` is a digest of what it asks for. It has ``observations``, and
    learns after them if ``learns``, or makes another write that has none. ``run`` makes the units
    that an earlier call has not made; ``answer`` returns its answer if it has made them all.
    """

    what: str
    request: str
    observations: int
    learns: bool
    run: Callable[[KatoApi, SessionState, float, Before, MakePart], Flow[R]]
    answer: Callable[[SessionState, Before], R]

    @property
    def units(self) -> int:
        """How many units it has."""
        return self.observations + self.learns


def call_once(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    call: Call[R],
    key: str | None,
    position: Position | None,
) -> Flow[R]:
    """Flow: make a call, unless it was made before; return its answer.

    If the session is lost meanwhile, it is begun again from the start: another process may have
    made the call since.

    Raises:
        IdempotencyKeyReused: the key was used for another call.
        ConfigurationError: the caller may have left out messages: see `LogPositions.give`.
        OutcomeUnknown: an earlier call, or a part of this one, may have been applied.
        KatoConsulError: see `execute_write`.
    """
    sent: list[CallPart] = []
    lost = False
    while True:
        try:
            if lost:
                yield from _own_again(api, state, deadline, sent)
            return (
                yield from _call_while_owned(
                    api, state, deadline, call=call, key=key, position=position, sent=sent
                )
            )
        except LeaseLost:
            lost = True
        except KatoConsulError as error:
            if lost:
                _tell_of(sent, state, error)
                if isinstance(error, SessionConflict) and error.call_applied:
                    units = sum(part.units for part in sent if part.applied)
                    error.call_applied = True if units == call.units else None  # it is of a part
            raise


def _own_again(
    api: KatoApi, state: SessionState, deadline: float, sent: Sequence[CallPart]
) -> Flow[None]:
    """Flow: own the session again, after a call lost it that had ``sent`` these parts."""
    assert api.owner is not None
    pending = _pending_of(sent, state)
    if pending is None or pending.part is None:
        yield from api.owner.resume(api, state, deadline)
        return
    try:
        if (yield from resume(api, state, deadline, pending)):
            pending.part.applied = True
    except SessionConflict as conflict:
        if conflict.call_applied:
            pending.part.applied = True
        raise


def _pending_of(sent: Sequence[CallPart], state: SessionState) -> Write[Any] | None:
    """Return the pending write if it is one of these parts."""
    pending = state.pending
    return pending if pending is not None and pending.part in sent else None


def _tell_of(sent: Sequence[CallPart], state: SessionState, error: KatoConsulError) -> None:
    """Let the error of a call that has lost its session meanwhile say what of it may be applied.

    Raises:
        OutcomeUnknown: this is not known of its last part.
    """
    certain = sum(part.observations for part in sent if part.applied)
    pending = _pending_of(sent, state)
    if pending is not None and not isinstance(error, OutcomeUnknown | SessionConflict):
        unknown = lost_before_answer(pending, state).because(error)
        unknown.applied = max(certain, error.applied)
        raise unknown from error
    if any(part.applied for part in sent):
        error.applied = max(certain, error.applied)
        error.sent, error.safe_to_resend = True, False


def _call_while_owned(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    call: Call[R],
    key: str | None,
    position: Position | None,
    sent: list[CallPart],
) -> Flow[R]:
    """Flow: make a call, unless it was made before. The parts of it that are made are added to
    ``sent``."""
    own = state.ownership = state.ownership or Ownership()
    epoch = own.epoch
    calls = own.calls = own.calls or CallRecords()
    record = None if key is None else calls.keys.get(key)
    if key is not None and record is not None and record.request != call.request:
        raise IdempotencyKeyReused(key, call.what)
    yield from _settle_earlier(api, state, deadline, key, position)
    calls.close(state.pending.part if state.pending is not None else None)
    record = None if key is None else calls.keys.get(key)
    done = 0 if record is None else record.applied
    unknown = record is not None and record.unknown
    if position is not None:
        track = calls.positions.give(position)
        whole = position.offset <= track.offset
        done = max(done, call.units if whole else min(track.ahead, call.observations))
        unknown = unknown or (track.unknown and not whole)
    if unknown:
        reason = "an earlier call with this idempotency key or position has no outcome"
        raise OutcomeUnknown(call.what, state.instance or "", reason)
    before = _before(done, record, state.journal)

    def part(units: int, observations: int) -> CallPart:
        if own.epoch != epoch:
            # A callback's call has acquired it again: another process may have repeated this one.
            raise LeaseLost
        sent.append(CallPart(key, call.request, position, units, observations))
        return sent[-1]

    result: Any
    if record is not None and record.answer is not None:
        result = copy.deepcopy(record.answer)
    elif done < call.units or (not call.units and key is not None and record is None):
        result = yield from call.run(api, state, deadline, before, part)
    else:
        result = call.answer(state, before)
    if own.epoch != epoch:  # so has the last callback: the records are those of a later owner
        return result  # type: ignore[no-any-return]
    if position is not None:
        calls.positions.complete(position, call.observations, learns=call.learns)
    if key is not None:
        calls.answered(key, call.request, call.units, result)
    return result  # type: ignore[no-any-return]


def position_of(
    api: KatoApi, state: SessionState, deadline: float, *, log: str | None
) -> Flow[Position | None]:
    """Flow: return the position up to which a log, or the one used last, is applied.

    It is in the entry then, and KATO shows what was observed up to it: the log may forget that.
    """
    own = state.ownership
    if own is None or own.calls is None:
        return None
    held, positions = own.held, own.calls.positions
    if api.owner is None or held is None:
        return positions.newest(log)
    if held.entry.positions != positions.as_recorded():
        yield from prepare(api, state, deadline)
        yield from read_memory(api, state, deadline)
        yield from api.owner.switch(state, state.journal, deadline)
    return positions.newest(log)


def _settle_earlier(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    key: str | None,
    position: Position | None,
) -> Flow[None]:
    """Flow: settle a write of an earlier call with this key or position, if it has no outcome.

    Raises:
        OutcomeUnknown: its outcome cannot be determined.
        SessionConflict: another writer changed the session.
    """
    doubt = state.doubtful_learn
    for write in (state.pending, doubt.write if doubt is not None else None):
        if write is None or write.part is None or not write.part.is_of(key, position):
            continue
        try:
            yield from settle(api, state, deadline)
        except (OutcomeUnknown, SessionConflict):
            raise
        except KatoConsulError as error:
            # This call was not sent, but the earlier one was, and it is the same.
            reason = "an earlier call with this idempotency key or position has no outcome"
            unknown = OutcomeUnknown(write.what, state.instance or "", reason)
            raise unknown.because(error) from error


def _before(done: int, record: KeyRecord | None, journal: Journal) -> Before:
    """Return what an earlier call did: as it was then if a key tells, otherwise as it is now."""
    if record is None or not record.time:
        return Before(done, journal)

    def then(time: int, events: int, auto_learn: tuple[int, bool]) -> Journal:
        return Journal.restored(
            journal.config,
            journal.session_id,
            time=time,
            events=events,
            entries=(),
            auto_learn=AutoLearn(*auto_learn),
        )

    pattern = PREFIX + record.pattern if record.pattern else ""
    by_itself = record.learned[:-1] if pattern else record.learned  # the call's own is the last
    start = record.start
    return Before(
        done,
        then(record.time, record.events, journal.auto_learn),
        None if start is None else then(start.time, start.events, start.auto_learn),
        by_itself,
        pattern,
    )
