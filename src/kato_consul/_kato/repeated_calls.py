"""Repeated calls: calls with an idempotency key or a log position, which may be made again, in this
process or another, and are applied once.

A repetition goes on with what is not in the session. If this is not known of a part, that is
settled first, or the repetition ends with `OutcomeUnknown`, as the first call did. What teaches the
node is never sent again then.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kato_consul._directory.entry import MAX_ANSWER_BYTES, KeyRecord
from kato_consul._flow import Flow
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.execute import prepare, settle
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.reconcile import read_memory
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import IdempotencyKeyReused, OutcomeUnknown
from kato_consul.models import Position

R = TypeVar("R")

MakePart = Callable[[int, int], CallPart | None]
"""Returns the part of a call with so many units, of which so many are observations; None if the
call cannot be repeated."""


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier call did: ``done`` units. ``journal`` has the counters that KATO had then,
    ``pattern`` is the name of what it learned, "" if that is not known."""

    done: int
    journal: Journal
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A call that may be made again.

    ``what`` names it, ``request`` is a digest of what it asks for. It has ``observations``, and
    learns after them if ``learns``. ``run`` makes the units that an earlier call has not made;
    ``answer`` returns its answer if it has made them all, from KATO's id.
    """

    what: str
    request: str
    observations: int
    learns: bool
    run: Callable[[KatoApi, SessionState, float, Before, MakePart], Flow[R]]
    answer: Callable[[str, Before], R]

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

    Raises:
        LeaseLost: the session is not owned any more: this is to be run again from the start, since
            another process may have made the call meanwhile.
        IdempotencyKeyReused: the key was used for another call.
        ConfigurationError: the caller may have left out messages: see `LogPositions.give`.
        OutcomeUnknown: an earlier call may have been applied.
        KatoConsulError: see `execute_write`.
    """
    own = state.ownership = state.ownership or Ownership()
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
        return CallPart(key, call.request, position, units, observations)

    result: Any
    if record is not None and record.answer is not None:
        result = copy.deepcopy(record.answer)
    elif done < call.units:
        result = yield from call.run(api, state, deadline, before, part)
    else:
        result = call.answer(state.id or "", before)
    if position is not None:
        calls.positions.complete(position, call.observations, learns=call.learns)
    if key is not None:
        calls.answered(key, call.request, call.units, _kept(result))
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
    """
    doubt = state.doubtful_learn
    for write in (state.pending, doubt.write if doubt is not None else None):
        if write is not None and write.part is not None and write.part.is_of(key, position):
            yield from settle(api, state, deadline)


def _before(done: int, record: KeyRecord | None, journal: Journal) -> Before:
    """Return what an earlier call did: as it was then if a key tells, otherwise as it is now."""
    if record is None or not record.time:
        return Before(done, journal)
    then = Journal.restored(
        journal.config,
        journal.session_id,
        time=record.time,
        events=record.events,
        entries=(),
        auto_learn=journal.auto_learn,
    )
    return Before(done, then, record.pattern)


def _kept(result: Any) -> Any:
    """Return an answer to keep, None if it is too long."""
    short = len(msgspec.json.encode(result)) <= MAX_ANSWER_BYTES
    return copy.deepcopy(result) if short else None
