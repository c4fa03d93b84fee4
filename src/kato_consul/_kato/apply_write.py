"""Applying a write: sends it, settles an unknown outcome, and verifies the result."""

from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.conflict_proof import has_added
from kato_consul._kato.journal import VECTOR_EVENT, event_of
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.once_only import settle_once_only, wait_for_instance
from kato_consul._kato.pattern_store import PREFIX, require_row
from kato_consul._kato.reconcile import NOT_SAVED, reconcile
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._logging import logger
from kato_consul.errors import (
    ClientClosed,
    GatewayRefused,
    KatoAnswerError,
    KatoConsulError,
    NoResponse,
    OutcomeUnknown,
    PatternNotStored,
    ServerFailed,
    SessionConflict,
    SessionGone,
    StoreUnavailable,
)

R = TypeVar("R")

log = logger("session")

NOT_VISIBLE = "KATO does not show whether it was applied, and it may still be"


def apply_write(api: KatoApi, state: SessionState, deadline: float, write: Write[R]) -> Flow[R]:
    """Flow: apply ``write`` to an open session without a pending write, exactly once.

    Raises:
        LeaseLost: the session is not owned any more. If it was sent, it is still pending.
        OutcomeUnknown: the outcome was not known before the deadline; the next call settles it.
        SessionConflict: another writer changed the session.
        StoreUnavailable: KATO acknowledged it, and did not save it.
        PatternNotStored: KATO counted a pattern that it learned, and has no row of it.
        KatoConsulError: the write was not applied, for the reason that the error gives.
    """
    earlier: KatoConsulError | None = None
    # A retry follows a read that an instance just answered, so the first one needs no delay.
    for delay in chain([0.0], api.retry_delays()):
        try:
            if earlier is not None:
                yield Sleep(max(0.0, min(delay, deadline - api.now())))
            result = yield from _attempt(api, state, deadline, write, is_retry=earlier is not None)
        except SessionConflict as conflict:
            conflict.call_applied = is_seen(write, conflict)
            if conflict.call_applied:
                state.note_applied(write)
            raise
        except (OutcomeUnknown, PatternNotStored):
            raise
        except KatoConsulError as error:
            if isinstance(earlier, OutcomeUnknown) and state.stays:
                raise earlier.because(error) from error
            if not state.store_loses:  # otherwise a part of it may be in the old session
                state.pending = None
            raise _error_after(earlier, write, error) from error
        if not isinstance(result, _NotApplied):
            return result
        # What it may still do, it does in a session that was left.
        if earlier is None or not isinstance(result.why, SessionGone):
            earlier = result.why
    raise AssertionError("the delays have no end")


@dataclass(frozen=True, slots=True)
class _NotApplied:
    """An attempt that was sent, and is certainly not applied to the session as it is now."""

    why: KatoConsulError


def _attempt(
    api: KatoApi, state: SessionState, deadline: float, write: Write[R], *, is_retry: bool
) -> Flow[R | _NotApplied]:
    """Flow: send the write once, and settle and verify its outcome. Return its result."""
    owner = api.owner
    once_only = write.is_once_only(state.journal)
    before = state.journal
    after = write.apply(before)
    if state.ownership is not None and state.ownership.calls is not None:
        state.ownership.calls.announce(write, before, after)
    if owner is not None:
        yield from owner.before_write(state, write, deadline)
    state.pending, state.unknown, state.request_in_flight = write, None, True
    assert state.id is not None
    request = write.request(state.id, api.attempt_timeout, follow_up=is_retry, once_only=once_only)
    why: KatoConsulError
    try:
        response = yield from api.call_session(request, state, deadline)
    except OutcomeUnknown as unknown:
        why, applied = unknown, (yield from _settle_unknown(api, state, deadline, write, unknown))
    except SessionGone as gone:
        state.pending = None  # it was refused
        why, applied = gone, (yield from reconcile(api, state, deadline, write))
    except GeneratorExit:
        if not state.request_in_flight and not is_retry:  # cancelled before it was sent
            state.pending = None
        raise
    except ServerFailed as error:
        if isinstance(error, GatewayRefused) and error.lacks_credentials:
            raise
        # Something before KATO returned it, and may have forwarded the write all the same.
        why = OutcomeUnknown(write.what, error.instance, f"{error.status} {error.detail}")
        applied = yield from _settle_unknown(api, state, deadline, write, why)
        if not applied:
            raise
    else:
        # While the store loses what it acknowledges, the response to an observation proves nothing.
        trusted = once_only or not (state.store_loses and write.observations)
        if trusted and write.is_expected(after, response):
            if owner is not None:
                yield from owner.after_answer(state, write, after, deadline)
            if after.generation != state.journal.generation:
                state.unsaved = state.journal
            elif write.observations:  # the response shows the memory
                state.unsaved = None
            state.commit(after, write)
            state.settle()
            yield from _check_row(api, state, write, deadline)
            result: R = response
            return result
        state.store_loses = True
        why = StoreUnavailable(write.what, NOT_SAVED)
        applied = yield from _settle_acknowledged(api, state, deadline, write, response)
    if not applied:
        return _NotApplied(why)
    if owner is not None:
        yield from owner.after_answer(state, write, state.journal, deadline)
    state.store_loses = False
    state.settle()
    result = write.answer_read_back(state.read_back(before))
    yield from _check_row(api, state, write, deadline)
    return result


def _settle_unknown(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    write: Write[Any],
    unknown: OutcomeUnknown,
) -> Flow[bool]:
    """Flow: read the session, and return whether the write with the unknown outcome was applied.

    Raises:
        OutcomeUnknown: it could not be read, or ``write`` is once only and not seen applied.
    """
    applied: bool | None
    if write.pattern is not None:
        unknown.pattern = PREFIX + write.pattern.name
    state.unknown = unknown
    try:
        if not write.is_once_only(state.journal):
            applied = yield from reconcile(api, state, deadline, write, answered=unknown.answered)
        else:
            if not unknown.answered:
                yield from wait_for_instance(api, state, unknown.instance, deadline)
            applied = yield from settle_once_only(
                api, state, deadline, write, answered=unknown.answered
            )
    except SessionConflict:
        raise
    except KatoConsulError as error:
        raise unknown.because(error) from error
    if applied is None:
        if write.pattern is not None:
            state.note_interrupted(write.pattern)
        raise unknown.because(NOT_VISIBLE)
    log_settled(state, write, applied=applied)
    return applied


def _settle_acknowledged(
    api: KatoApi, state: SessionState, deadline: float, write: Write[Any], response: Any
) -> Flow[bool]:
    """Flow: KATO acknowledged the write with an unexpected counter: return whether it was applied.

    KATO lost something, or there is another writer.

    Raises:
        OutcomeUnknown: the session could not be read, or KATO learned from another memory.
    """
    unexpected = OutcomeUnknown(
        write.what, state.instance or "", "its response is not the expected one", answered=True
    )
    if write.is_once_only(state.journal) and write.learned_patterns(response):
        raise unexpected.because("KATO learned, but not from the memory that it should have")
    try:
        return (yield from reconcile(api, state, deadline, write, answered=True))
    except SessionConflict:
        raise
    except KatoConsulError as error:
        if isinstance(error, StoreUnavailable) and error.what == write.what:
            raise
        raise unexpected.because(error) from error


def is_seen(write: Write[Any], conflict: SessionConflict) -> bool | None:
    """Return whether the memory that KATO has shows ``write``: True, or None if it does not.

    That it does not proves nothing: another writer may have removed the events, or restore them. An
    event of vectors cannot be recognized.
    """
    events = [event for event in map(event_of, write.observations) if event]
    if not events or VECTOR_EVENT in events:
        return None
    return has_added(events, conflict.expected_stm, conflict.found_stm) or None


def _check_row(api: KatoApi, state: SessionState, write: Write[Any], deadline: float) -> Flow[None]:
    """Flow: check that a learned pattern has a row, if an earlier learn of it was interrupted."""
    pattern = write.pattern
    if pattern is not None and (state.node_id, pattern.name) in state.interrupted:
        yield from require_row(api, state, write.what, pattern.name, deadline)
        state.interrupted.pop((state.node_id, pattern.name), None)


def _error_after(
    earlier: KatoConsulError | None, write: Write[Any], error: KatoConsulError
) -> KatoConsulError:
    """Return the error to raise for a write whose earlier attempts are known not to be applied."""
    if isinstance(error, ClientClosed) and earlier is not None:
        error.sent = True
    if earlier is None or isinstance(error, KatoAnswerError | StoreUnavailable | ClientClosed):
        return error
    if isinstance(earlier, StoreUnavailable):
        return earlier
    return NoResponse(f"{write.what} was sent, and is not applied: {earlier}. Then: {error}")


def log_settled(state: SessionState, write: Write[Any], *, applied: bool) -> None:
    state.settlements += 1
    log.info("session.settled", key=state.key, what=write.what, applied=applied)
