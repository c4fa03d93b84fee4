"""Executing a write: first settles what an earlier call left without an outcome."""

from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato.apply_write import NOT_VISIBLE, apply_write, is_seen, log_settled
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.once_only import require_no_doubt, settle_once_only
from kato_consul._kato.opening import open_session
from kato_consul._kato.ownership import LeaseLost, lost_before_answer, resume
from kato_consul._kato.reconcile import read_memory, reconcile
from kato_consul._kato.replacement import leave_session
from kato_consul._kato.session_state import DoubtfulLearn, SessionState
from kato_consul._kato.write import Write
from kato_consul.errors import KatoConsulError, OutcomeUnknown, SessionConflict

R = TypeVar("R")


def prepare(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: open the session if it is not open; settle a write that an earlier call left pending.

    Return whether that write was applied, None if there was none. One that may still be applied
    is left behind, together with its session: it counts as not applied.
    """
    if state.deleting:
        yield from _settle_delete(api, state, deadline)
    if state.id is None:
        yield from open_session(api, state, deadline)
        return None
    pending = state.pending
    if pending is None:
        return None
    if state.is_applied:  # the caller was interrupted just then
        state.settle()
        return True
    applied: bool | None = None
    once_only = pending.is_once_only(state.journal)
    if once_only:
        applied = yield from settle_once_only(api, state, deadline, pending)
    if applied is None:
        applied = yield from reconcile(api, state, deadline, pending)
        if once_only and not applied:
            state.note_unknown(pending)
        if pending.learns_same_memory and not applied:
            state.doubtful_learn = DoubtfulLearn(
                pending, state.journal.generation, state.journal.events
            )
    if api.owner is not None:
        yield from api.owner.after_read(state, deadline)
    log_settled(state, pending, applied=applied)
    state.settle()
    return applied


def settle_call(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: as `settle`, or what the session's acquisition has shown about the pending write."""
    own = state.ownership
    if own is not None and own.unknown is not None:
        raise own.unknown
    if own is not None and own.resolved is not None:
        return own.resolved
    return (yield from settle(api, state, deadline))


def settle(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: return whether the pending write was applied, None if there is none.

    Raises:
        OutcomeUnknown: it may still be applied.
    """
    pending = state.pending
    if state.id is None:
        return None
    api.place_session(state)
    if state.deleting:
        return (yield from _settle_delete(api, state, deadline))
    if pending is None and state.doubtful_learn is None:
        return None
    if pending is None:
        return (yield from require_no_doubt(api, state, deadline)) or None
    if state.is_applied or not pending.is_once_only(state.journal):
        try:
            return (yield from prepare(api, state, deadline))
        except SessionConflict as conflict:
            conflict.call_applied = is_seen(pending, conflict)
            if conflict.call_applied:
                state.note_applied(pending)
            raise
    applied = yield from settle_once_only(api, state, deadline, pending)
    if applied is None:
        reason = "an earlier call was cancelled"
        unknown = state.unknown or OutcomeUnknown(pending.what, state.instance or "", reason)
        raise unknown.because(NOT_VISIBLE)
    if api.owner is not None:
        yield from api.owner.after_read(state, deadline)
    log_settled(state, pending, applied=applied)
    state.settle()
    return applied


def settle_sent(
    api: KatoApi, state: SessionState, deadline: float, write: Write[Any]
) -> Flow[bool | None]:
    """Flow: as `settle`, for the pending write of the call in hand.

    Raises:
        OutcomeUnknown: it may still be applied, or this could not be read.
        SessionConflict: another writer changed the session.
    """
    try:
        return (yield from settle(api, state, deadline))
    except (OutcomeUnknown, SessionConflict):
        raise
    except KatoConsulError as error:
        raise lost_before_answer(write, state).because(error) from error


def execute_write(api: KatoApi, state: SessionState, deadline: float, write: Write[R]) -> Flow[R]:
    """Flow: settle what is pending, then apply ``write`` to the session exactly once.

    Raises: see `apply_write`.
    """
    while True:
        try:
            # Its lease was lost, and no other process has owned the session since it was sent.
            if state.pending is write and (yield from settle_sent(api, state, deadline, write)):
                return write.answer_read_back(state.read_back())
            api.place_session(state)
            try:
                yield from prepare(api, state, deadline)
                if _may_learn_a_loss(state, write):
                    yield from read_memory(api, state, deadline)
            except SessionConflict:
                if not write.resets:  # otherwise it does not matter what was there
                    raise
            if state.doubtful_learn is not None and write.learns_same_memory:
                yield from require_no_doubt(api, state, deadline)
            return (yield from apply_write(api, state, deadline, write))
        except LeaseLost:
            if write.part is not None:  # the call may have been repeated in another process
                raise
            if (yield from resume(api, state, deadline, write)):
                return write.answer_read_back(state.read_back())


def _may_learn_a_loss(state: SessionState, write: Write[Any]) -> bool:
    """Return whether the memory has to be read before the write.

    What is learned or deleted stays so, and a memory that KATO has lost in part, or has not
    emptied after a learn, would be learned in place of the right one.
    """
    if state.unsaved is not None and write.observations and state.journal.auto_learn.length:
        return True
    return write.is_once_only(state.journal)


def _settle_delete(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: return whether a call that ended without an outcome has deleted the session.

    If not, it may still do so: the session is left.
    """
    if (yield from api.session_exists("delete", state, deadline)):
        if not state.stays:
            yield from leave_session(api, state, state.journal, deadline)
        state.deleting = False
        return False
    if api.owner is not None:
        yield from api.owner.removed(state, deadline)
    api.release_placement(state)
    state.close()
    return True
