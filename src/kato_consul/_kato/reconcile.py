"""Making KATO's session what the journal says, and finding out what became of a pending write.

One loop: read the counter and the STM; if they are what they should be, with or without the pending
write, that settles it; if not, and the journal proves that only our own writes can have led there,
put the session back and read again. Nothing is believed that was not read.
"""

from typing import Any

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.conflict_proof import explains
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import reopen_session
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul._kato.writes import Write, clear_stm, observe_sequence
from kato_consul._logging import logger
from kato_consul._requests.failover import Request
from kato_consul.errors import OutcomeUnknown, SessionConflict, SessionGone

log = logger("session")

REPLAY_EACH = 0.05
"""Seconds that replaying one observation may take, beside the timeout of an attempt. A real KATO
takes 10 to 15 ms on two busy cores."""


def reconcile(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    pending: Write[Any] | None = None,
    *,
    acknowledged: bool = False,
) -> Flow[bool]:
    """Flow: bring session and journal together; was ``pending`` applied?

    The journal is as it should be without ``pending`` when this returns False, and with it when
    it returns True. ``acknowledged``: KATO said it was applied, though what it said was off.

    Raises:
        SessionConflict: the session is something else, and the journal does not prove why. What is
            there is taken over, so that the next call goes on from it.
        KatoConsulError: it could not be read or put back before the deadline.
    """
    pauses = api.pauses()
    while True:
        try:
            if pending is not None:
                # The instance may still be working on it: over by the time this is answered.
                still = barrier(state, api.attempt_timeout)
                yield from api.call_session(still, state, deadline)
            mends = pending is not None or state.restoring
            time, stm = yield from read_session(api, state, deadline, follow_up=mends)
        except SessionGone:
            yield from reopen_session(api, state, deadline)
            state.restoring = True
            time, stm = 0, []
        if not state.restoring:
            # Before first: a pending write that changes nothing, such as learning from an empty
            # memory, was not applied for all one can see, and is asked for again.
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
            state.restoring = True
            log.warning(
                "session.repairing",
                key=state.key,
                id=state.id,
                expected=state.journal.time,
                found=time,
                replayed=len(state.journal.entries),
            )
        restored = state.journal.copy()
        restored.time = len(restored.entries)
        if restored.matches(time, stm):
            state.journal = restored
            state.restoring = False
            return False
        if not (yield from _repair(api, state, deadline)):
            yield Sleep(max(0.0, min(next(pauses), deadline - api.now())))


def read_session(
    api: KatoApi, state: SessionState, deadline: float, *, follow_up: bool
) -> Flow[tuple[int, list[Event]]]:
    """Flow: the session's counter and STM, in one answer."""
    target = f"/sessions/{state.id}/cognition-data"
    request = Request(
        "settle",
        "GET",
        target,
        repeatable=True,
        timeout=api.attempt_timeout,
        needs=("cognition_data",),
        follow_up=follow_up,
    )
    found = yield from api.call_session(request, state, deadline)
    data = found["cognition_data"]
    return int(data["time"]), data["short_term_memory"]


def barrier(state: SessionState, timeout: float) -> Request:
    """A request that changes nothing and is answered when whatever the process does is done.

    An empty sequence is not saved, but waits for KATO's lock on the session.
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
    """Return if the session may be put back: the journal holds it all and explains the finding."""
    may_repair = state.on_conflict == "repair" and state.journal.whole
    if may_repair and explains(state.journal, state.in_flight, pending, time, stm):
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
    """One attempt to empty the session and replay the journal. The reading after it judges."""
    assert state.id is not None
    writes: list[Write[Any]] = [clear_stm()]
    if state.journal.entries:
        writes.append(observe_sequence(state.journal.entries))
    for write in writes:
        patience = api.attempt_timeout + REPLAY_EACH * len(write.observations)
        request = write.request(state.id, patience, follow_up=True)
        try:
            yield from api.call_session(request, state, deadline)
        except OutcomeUnknown:
            state.track(write, api.now())
            return False
        except SessionGone:
            return False
    return True
