"""Repeated calls: calls with an idempotency key or a log position, which may be made again, in this
process or another, and are applied once.

A repetition goes on with what is not in the session. If this is not known of a part, that is
settled first, or the repetition ends with `OutcomeUnknown`, as the first call did.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kato_consul._directory.entry import MAX_ANSWER_BYTES, KeyRecord
from kato_consul._flow import Flow
from kato_consul._kato.call_records import CallRecords, OpenWrite
from kato_consul._kato.execute import settle
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import LeaseLost, Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import IdempotencyKeyReused, OutcomeUnknown
from kato_consul.models import Position

R = TypeVar("R")

Track = Callable[[Flow[Any], int, int], Flow[Any]]
"""Runs the flow of one write of a call, which has so many units, of which so many observations."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A call that may be made again.

    ``what`` names it, ``request`` is a digest of what it asks for. It has ``observations``, and
    learns after them if ``learns``. ``run`` makes the units after a number of them, each write by
    way of the given function. ``answer`` returns its answer if all are in the session already,
    from KATO's id and a journal that has the counters of then.
    """

    what: str
    request: str
    observations: int
    learns: bool
    run: Callable[[KatoApi, SessionState, float, int, Track], Flow[R]]
    answer: Callable[[str, Journal], R]

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
        IdempotencyKeyReused: the key was used for another call.
        OutcomeUnknown: an earlier call may have been applied.
        KatoConsulError: see `execute_write`.
    """
    own = state.ownership = state.ownership or Ownership()
    calls = own.calls = own.calls or CallRecords()
    yield from _settle_open(api, state, deadline, calls, key, position)
    done, record = 0, None
    if key is not None:
        record = calls.record_of(key, call.request)
        if record.request != call.request:
            raise IdempotencyKeyReused(key, call.what)
        if record.answer is not None:
            answer: Any = copy.deepcopy(record.answer)
            return answer  # type: ignore[no-any-return]
        if record.count:
            reason = f"an earlier call with the idempotency key {key!r} has no outcome"
            raise OutcomeUnknown(call.what, state.instance or "", reason)
        done = record.applied
    if position is not None:
        done = max(done, calls.positions.passed_over(position, call.observations, call.units))

    def track(flow: Flow[Any], units: int, observations: int) -> Flow[Any]:
        return _tracked(state, calls, OpenWrite(key, position, units, observations), flow)

    if done < call.units:
        result = yield from call.run(api, state, deadline, done, track)
    else:
        result = call.answer(state.id or "", _journal_after(record, state.journal))
    if position is not None:
        calls.positions.complete(position, call.observations)
    if key is not None and key in calls.keys:
        calls.keys[key] = _answered(calls.keys[key], call, result)
    return result


def position_of(
    api: KatoApi, state: SessionState, deadline: float, *, log: str | None
) -> Flow[Position | None]:
    """Flow: return the position up to which a log, or the one used last, is applied."""
    own = state.ownership
    if own is None or own.calls is None:
        return None
    return own.calls.positions.newest(log)
    yield  # it makes this a flow


def _tracked(state: SessionState, calls: CallRecords, write: OpenWrite, flow: Flow[R]) -> Flow[R]:
    """Flow: run the flow of a write, and record what becomes of it."""
    before = state.pending
    calls.begin(write)
    try:
        result = yield from flow
    except BaseException as error:
        sent = state.pending is not None and state.pending is not before
        if sent and isinstance(error, OutcomeUnknown | GeneratorExit | LeaseLost):
            calls.open[state.pending] = write
        elif not isinstance(error, LeaseLost):
            calls.refused(write)
        raise
    finally:
        calls.end()
    calls.applied(write)
    return result


def _settle_open(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    calls: CallRecords,
    key: str | None,
    position: Position | None,
) -> Flow[None]:
    """Flow: settle a write of an earlier call with this key or position, if it has no outcome.

    Raises:
        OutcomeUnknown: its outcome cannot be determined.
    """
    for write, left in list(calls.open.items()):
        same = (key is not None and left.key == key) or (
            position is not None and left.position == position
        )
        doubt = state.doubtful_learn
        if same and (state.pending is write or (doubt is not None and doubt.write is write)):
            applied = yield from settle(api, state, deadline)
            calls.settled(write, applied=bool(applied))


def _journal_after(record: KeyRecord | None, journal: Journal) -> Journal:
    """Return a journal with the counters that KATO had after the call, as far as they are known."""
    if record is None or not record.time:
        return journal
    return Journal.restored(
        journal.config,
        journal.session_id,
        time=record.time,
        events=record.events,
        entries=(),
        auto_learn=journal.auto_learn,
    )


def _answered(record: KeyRecord, call: Call[R], result: R) -> KeyRecord:
    """Return the record with the answer, unless that is too long to be kept."""
    answer: Any = copy.deepcopy(result)
    if len(msgspec.json.encode(answer)) > MAX_ANSWER_BYTES:
        answer = None
    return msgspec.structs.replace(record, applied=call.units, count=0, answer=answer)
