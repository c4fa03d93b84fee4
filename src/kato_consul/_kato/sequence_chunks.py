"""Chunks of long sequences: each is applied as a whole or not at all, with progress reports."""

from collections.abc import Callable, Sequence
from inspect import isawaitable, iscoroutine, iscoroutinefunction

from kato_consul._flow import Flow
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.learning import learn
from kato_consul._kato.plain_json import require_positive
from kato_consul._kato.repeated_calls import MakePart
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import LearnResult, Observation, SequenceResult
from kato_consul._kato.write import Write
from kato_consul._kato.writes import clear_stm
from kato_consul.errors import (
    ConfigurationError,
    KatoConsulError,
    NoResponse,
    OutcomeUnknown,
    SessionConflict,
)

CHUNK_SIZE = 100
"""Observations in one call. KATO processes them one by one, in some 10 ms each. That is about one
second: well within the timeout of an attempt, and little to repeat if a chunk is lost."""

ASYNC_PROGRESS = (
    "progress is an async function: the call does not await it. Give a plain function; on asyncio "
    "it may create a task"
)

Progress = Callable[[int, int], object]
"""Called after each chunk with the number of observations applied so far, and in total."""


def no_part(units: int, observations: int) -> None:
    """Return no part: the call cannot be repeated."""


def observe_chunks(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    observations: Sequence[Observation],
    chunk: int = CHUNK_SIZE,
    learn_after_each: bool = False,
    learn_at_end: bool = False,
    clear_stm_between: bool = False,
    progress: Progress | None = None,
    part: MakePart = no_part,
    unique_ids: str = "",
    so_far: SequenceResult | None = None,
) -> Flow[SequenceResult]:
    """Flow: observe a sequence of any length, in chunks of at most ``chunk``.

    ``deadline`` is that of the first chunk, which includes the wait for the session's turn. Each
    further one has the time of a call. ``chunk`` is at least 1. ``learn_after_each`` and
    ``clear_stm_between`` are those of `observe_sequence`, ``progress`` is called after each chunk.
    If the call may be repeated, ``part`` returns the part of it that a write is, and ``so_far`` is
    the result of what an earlier call has made; ``unique_ids`` are those of the observations.

    ``learn_at_end`` is a `learn` of its own: observations can be repaired and sent again, a learn
    cannot, so they are not one request.

    Raises:
        KatoConsulError: as `execute_write`. Its ``applied`` is the number of observations that are
            certainly applied: continue with the rest. If it is above 0, the call as a whole is not
            safe to resend.
    """
    require_positive(chunk, "chunk")
    _require_plain_function(progress)
    applied = 0 if so_far is None else so_far["observations_processed"]
    # All at once: if one cannot be sent as JSON, none is sent.
    chunks = [
        observe_sequence(
            observations[start : start + chunk],
            learn_after_each=learn_after_each,
            clear_stm_between=clear_stm_between,
            unique_ids=unique_ids,
            first=start,
        )
        for start in range(applied, max(len(observations), 1), chunk)
    ]
    sent: Write[SequenceResult] | None = None
    try:
        for write in chunks:
            if clear_stm_between and applied:
                yield from _clear_between(api, state, deadline, part(0, 0))
            units, sent = len(write.observations), write
            result = yield from execute_write(api, state, deadline, write.of(part(units, units)))
            sent = None
            deadline = api.now() + api.call_timeout
            so_far = result if so_far is None else merged(so_far, result)
            applied += len(write.observations)
            if progress is not None:
                state.reporting = True
                try:
                    _require_no_awaitable(progress(applied, len(observations)))
                finally:
                    state.reporting = False
        assert so_far is not None
        if learn_at_end and observations and state.journal.events:
            learned = yield from learn(api, state, deadline, part=part(1, 0))
            so_far = with_learned(so_far, learned)
    except KatoConsulError as error:
        if sent is not None and isinstance(error, SessionConflict) and error.call_applied:
            applied += len(sent.observations)
            error.call_applied = applied == len(observations) and not learn_at_end
        if applied:
            error.applied = applied
            error.sent, error.safe_to_resend = True, False
            error.add_note(
                f"{applied} of {len(observations)} events are applied; continue with "
                f"events[error.applied:]"
            )
        raise
    return so_far


def _require_plain_function(progress: Progress | None) -> None:
    if iscoroutinefunction(progress) or iscoroutinefunction(type(progress).__call__):
        raise ConfigurationError(ASYNC_PROGRESS)


def _require_no_awaitable(result: object) -> None:
    """Check what ``progress`` returned: also a plain function can return a coroutine."""
    if iscoroutine(result):
        result.close()  # otherwise Python warns that it was never awaited
    if isawaitable(result):
        raise ConfigurationError(ASYNC_PROGRESS)


def _clear_between(
    api: KatoApi, state: SessionState, deadline: float, part: CallPart | None
) -> Flow[None]:
    """Flow: clear the memory between two chunks.

    Raises:
        NoResponse: it may be cleared or not. No observation is affected.
    """
    try:
        yield from execute_write(api, state, deadline, clear_stm().of(part))
    except OutcomeUnknown as error:
        raise NoResponse(f"the memory between two chunks may not be cleared: {error}") from error


def with_learned(result: SequenceResult, learned: LearnResult) -> SequenceResult:
    """Return the result of a sequence whose events were learned after the last one."""
    name = learned["pattern_name"]
    names = [*result.get("auto_learned_patterns", []), *([name] if name else [])]
    return {
        **result,
        "final_stm_length": 0,
        "final_learned_pattern": name,
        "auto_learned_patterns": names,
    }


def merged(before: SequenceResult, after: SequenceResult) -> SequenceResult:
    """Return the results of two successive chunks as one."""
    results = [
        {**entry, "sequence_position": position}
        for position, entry in enumerate([*before["results"], *after["results"]])
    ]
    return {
        **after,
        "observations_processed": len(results),
        "initial_stm_length": before.get("initial_stm_length", 0),
        "results": results,
        "auto_learned_patterns": [
            *before.get("auto_learned_patterns", []),
            *after.get("auto_learned_patterns", []),
        ],
    }
