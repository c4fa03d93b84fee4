"""Reconciliation: makes KATO's session match the journal, and settles a pending write.

Read the counter and the STM. If they match the journal, with or without the pending write, that is
its outcome. If the write was not applied, it may still be: the session is left. If KATO's state is
another one, and it is proven that this client's own writes alone led there, the session is restored
from the journal. Every outcome is based on a read.
"""

from typing import Any

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.config_check import read_config, rejected
from kato_consul._kato.conflict_proof import has_added, own_writes_explain
from kato_consul._kato.journal import Journal, event_of
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.replacement import leave_session, read_session, replace_session
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul._kato.write import Write
from kato_consul._requests.request import Request
from kato_consul.errors import SessionConflict, SessionGone, StoreUnavailable

NOT_SAVED = "acknowledged, and not saved"


def reconcile(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    pending: Write[Any] | None = None,
    *,
    answered: bool = False,
) -> Flow[bool]:
    """Flow: make session and journal match; return whether ``pending`` was applied.

    If this returns True, the journal includes ``pending``; otherwise it does not, and ``pending``
    cannot be applied to the session any more. ``answered``: KATO has answered ``pending``, so it
    will not be applied later.

    Raises:
        SessionConflict: the session does not match, and this client's own writes do not explain
            why. KATO's state is adopted: the next call continues from it.
        StoreUnavailable: the store lost acknowledged writes, and takes no others. If it is about
            ``pending``, that is not applied.
        KatoConsulError: the session could not be read or restored before the deadline.
    """
    journal = state.journal
    adopts = state.on_conflict == "adopt"
    if pending is not None and pending.clears_only and not answered and not adopts:
        # A new session is empty. What the old one has could be the effect of a loss, too.
        yield from leave_session(api, state, pending.apply(journal), deadline, applied=pending)
        return True
    stays = state.stays
    try:
        if pending is not None and stays:
            # Its session cannot be left, so the instance has to have ended the write.
            barrier = lock_barrier(state, api.attempt_timeout)
            yield from api.call_session(barrier, state, deadline)
        time, stm = yield from read_session(api, state, deadline, follow_up=pending is not None)
    except SessionGone:
        if not journal.complete:
            yield from _require_owned(api, state, deadline)
            raise _conflict(state, 0, []) from None
        yield from replace_session(api, state, journal, deadline, reason="gone")
        state.reopened += 1
        return False
    # Compare without the pending write first: one that changes nothing looks as if it was not
    # applied, and is sent again.
    if journal.matches(time, stm):
        state.unsaved = None
        if pending is None:
            state.store_loses = False
            return False
        applied = False
        if pending.config is not None:
            used = yield from read_config(api, state, deadline)
            applied = not rejected(pending.config, used)
        after = pending.apply(journal) if applied else journal
        if not answered and not stays:
            # Also if the configuration is as it should be: it may have been so before.
            yield from leave_session(
                api, state, after, deadline, applied=pending if applied else None
            )
        elif applied:
            state.commit(after, pending)
        return applied
    if pending is not None:
        after = pending.apply(journal)
        if after.matches(time, stm):
            state.commit(after, pending)
            return True
    yield from _require_owned(api, state, deadline)
    if state.on_conflict == "adopt":
        applied = pending is not None and (
            yield from _is_in(api, state, pending, time, stm, deadline)
        )
        state.adopt(time, stm)
        return applied
    _require_proof(state, pending, time, stm)
    try:
        yield from replace_session(api, state, journal, deadline, reason="differs")
    except StoreUnavailable as error:
        if pending is None or not answered:
            raise
        # The restored session will not have it, whatever the old one has.
        raise StoreUnavailable(pending.what, NOT_SAVED) from error
    state.repairs += 1
    return False


def read_memory(api: KatoApi, state: SessionState, deadline: float) -> Flow[list[Event]]:
    """Flow: return KATO's events, after session and journal match.

    Raises:
        SessionConflict, KatoConsulError: see `reconcile`.
    """
    for delay in api.retry_delays():
        try:
            time, stm = yield from read_session(api, state, deadline)
        except SessionGone:
            pass
        else:
            if state.journal.matches(time, stm):
                state.unsaved = None
                state.store_loses = False
                return stm
        yield from reconcile(api, state, deadline)
        yield Sleep(max(0.0, min(delay, deadline - api.now())))
    raise AssertionError("the delays have no end")


def lock_barrier(state: SessionState, timeout: float) -> Request:
    """Return a request that changes nothing, and completes after the session's earlier requests.

    KATO does not save the session for an empty sequence, but takes its lock. The lock is one of
    the process: another worker process does not wait for it. ``timeout`` is in seconds.
    """
    assert state.id is not None
    empty = observe_sequence([]).request(state.id, timeout)
    return Request(
        "waiting for an earlier request",
        empty.method,
        empty.target,
        empty.body,
        repeatable=True,
        timeout=timeout,
        follow_up=True,
    )


def _is_in(
    api: KatoApi,
    state: SessionState,
    write: Write[Any],
    time: int,
    stm: list[Event],
    deadline: float,
) -> Flow[bool]:
    """Flow: return whether KATO's state, which another writer may have changed, shows the write."""
    if write.config is not None:
        used = yield from read_config(api, state, deadline)
        return not rejected(write.config, used)
    if not write.observations:
        return False  # sent again: a clear has the same effect
    before = state.journal
    events = [event for event in map(event_of, write.observations) if event]
    if not events:
        return time > before.time
    return has_added(events, before.stm, stm)


def _require_proof(
    state: SessionState, pending: Write[Any] | None, time: int, stm: list[Event]
) -> None:
    """Return if the session may be restored: the journal is complete and explains its state.

    Raises:
        SessionConflict: it may not. KATO's state is adopted.
    """
    journal = state.journal
    if (
        state.on_conflict == "repair"
        and journal.complete
        and own_writes_explain(
            journal,
            state.unsaved,
            pending.observations if pending is not None else (),
            time,
            stm,
            may_have_emptied=pending is not None and _empties(pending, journal),
        )
    ):
        return
    raise _conflict(state, time, stm)


def _require_owned(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: return if what was just read of KATO's session counts.

    Raises:
        LeaseLost: another process may have continued the session in another one, and deleted this.
    """
    if api.owner is not None:
        yield from api.owner.after_read(state, deadline)


def _empties(write: Write[Any], before: Journal) -> bool:
    """Return whether the write may learn or clear events of the memory."""
    return write.is_once_only(before) or write.apply(before).generation != before.generation


def _conflict(state: SessionState, time: int, stm: list[Event]) -> SessionConflict:
    """Return the conflict, after the state that KATO has was adopted."""
    assert state.id is not None
    conflict = SessionConflict(
        state.key,
        state.id,
        expected=state.journal.time,
        found=time,
        expected_stm=state.journal.stm,
        found_stm=stm,
    )
    state.adopt(time, stm)
    if state.pending is not None:
        state.note_unknown(state.pending)
    state.pending = None
    return conflict
