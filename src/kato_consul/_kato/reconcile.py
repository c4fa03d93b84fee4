"""Reconciliation: makes KATO's session match the journal, and settles a pending write.

One loop: read the counter and the STM. If they match the journal, with or without the pending
write, that is its outcome. If not, and it is proven that this client's own writes alone led there,
repair the session and read again. Every outcome is based on a read.
"""

from typing import Any

from kato_consul._flow import Flow, Sleep
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.conflict_proof import own_writes_explain
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import reopen_session
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul._kato.writes import Write, clear_stm, observe_sequence
from kato_consul._logging import logger
from kato_consul._requests.request import Request
from kato_consul.errors import OutcomeUnknown, SessionConflict, SessionGone

log = logger("session")

REPLAY_EACH = 0.05
"""Seconds added to the timeout of an attempt for each replayed observation. A real KATO takes 10 to
15 ms for one on two busy cores."""


def reconcile(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    pending: Write[Any] | None = None,
    *,
    acknowledged: bool = False,
) -> Flow[bool]:
    """Flow: make session and journal match; return whether ``pending`` was applied.

    If this returns True, the journal includes ``pending``; otherwise it does not. ``acknowledged``:
    KATO confirmed ``pending``, but with an unexpected counter.

    Raises:
        SessionConflict: the session does not match, and this client's own writes do not explain
            why. KATO's state is adopted: the next call continues from it.
        KatoConsulError: the session could not be read or repaired before the deadline.
    """
    delays = api.retry_delays()
    while True:
        try:
            if pending is not None:
                # The instance may still be processing it. It has ended when this is answered.
                barrier = lock_barrier(state, api.attempt_timeout)
                yield from api.call_session(barrier, state, deadline)
            follow_up = pending is not None or state.repairing
            time, stm = yield from read_session(api, state, deadline, follow_up=follow_up)
        except SessionGone:
            yield from reopen_session(api, state, deadline)
            state.repairing = True
            time, stm = 0, []
        if not state.repairing:
            # Compare without the pending write first: one that changes nothing, such as a learn of
            # an empty memory, looks as if it was not applied, and is sent again.
            if state.journal.matches(time, stm):
                return False
            if pending is not None:
                after = state.journal.copy()
                pending.apply(after)
                if after.matches(time, stm):
                    state.journal = after
                    return True
            if state.on_conflict == "adopt" and (pending is None or acknowledged):
                state.adopt(time, stm)
                return pending is not None
            _require_proof(state, pending, time, stm)
            state.repairs += 1
            state.repairing = True
            log.warning(
                "session.repairing",
                key=state.key,
                id=state.id,
                expected=state.journal.time,
                found=time,
                replayed=len(state.journal.entries),
            )
        replayed = state.journal.copy()
        replayed.time = len(replayed.entries)
        if replayed.matches(time, stm):
            state.journal = replayed
            state.repairing = False
            return False
        if not (yield from _repair(api, state, deadline)):
            yield Sleep(max(0.0, min(next(delays), deadline - api.now())))


def read_session(
    api: KatoApi, state: SessionState, deadline: float, *, follow_up: bool
) -> Flow[tuple[int, list[Event]]]:
    """Flow: read the session's counter and STM, in one response."""
    target = f"/sessions/{state.id}/cognition-data"
    request = Request(
        "settle",
        "GET",
        target,
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shapes.Cognition,
        follow_up=follow_up,
    )
    response = yield from api.call_session(request, state, deadline)
    data = response["cognition_data"]
    return data["time"], data["short_term_memory"]


def lock_barrier(state: SessionState, timeout: float) -> Request:
    """Return a request that changes nothing, and completes after the session's earlier requests.

    KATO does not save the session for an empty sequence, but takes its lock. ``timeout`` is in
    seconds.
    """
    assert state.id is not None
    empty = observe_sequence([]).request(state.id, timeout)
    return Request(
        "settle",
        empty.method,
        empty.target,
        empty.body,
        repeatable=True,
        timeout=timeout,
        follow_up=True,
    )


def _require_proof(
    state: SessionState, pending: Write[Any] | None, time: int, stm: list[Event]
) -> None:
    """Return if the session may be repaired: the journal is complete and explains its state.

    Raises:
        SessionConflict: it may not. KATO's state is adopted.
    """
    may_repair = state.on_conflict == "repair" and state.journal.complete
    if may_repair and own_writes_explain(state.journal, state.in_flight, pending, time, stm):
        return
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
    state.pending = None
    raise conflict


def _repair(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: try once to clear the session and replay the journal. The next read verifies it.

    Return False if an attempt failed, so that the next one waits.
    """
    assert state.id is not None
    writes: list[Write[Any]] = [clear_stm()]
    if state.journal.entries:
        writes.append(observe_sequence(state.journal.entries))
    for write in writes:
        timeout = api.attempt_timeout + REPLAY_EACH * len(write.observations)
        request = write.request(state.id, timeout, follow_up=True)
        try:
            yield from api.call_session(request, state, deadline)
        except OutcomeUnknown:
            state.track(write, api.now())
            return False
        except SessionGone:
            return False
    return True
