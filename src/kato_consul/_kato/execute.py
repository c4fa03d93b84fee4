"""One write to a session, from the caller's word to the proof that it was applied once."""

from itertools import chain
from typing import Any, TypeVar

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import open_session
from kato_consul._kato.reconcile import barrier, reconcile
from kato_consul._kato.session_state import InFlightWrite, SessionState
from kato_consul._kato.writes import Write
from kato_consul._logging import logger
from kato_consul._requests.classify import Delivery, classify
from kato_consul.errors import (
    BadRequest,
    KatoAnswerError,
    KatoConsulError,
    NoResponse,
    OutcomeUnknown,
    SessionConflict,
    SessionGone,
)

R = TypeVar("R")

log = logger("session")


def prepare(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: open the session if it is not; settle what an earlier caller left behind.

    Was what was left behind applied? None when nothing was.
    """
    if state.id is None:
        yield from open_session(api, state, deadline)
    elif state.pending is not None or state.restoring or state.may_have_late_writes(api.now()):
        # Whoever made the pending write was told, or gave up: it is settled, and not sent again.
        # While a write may well still land the session is looked at each time: one that overwrites
        # exactly one later write leaves counter and length as they must be.
        pending = state.pending
        ghost = state.track(pending, api.now()) if pending is not None else None
        applied = yield from reconcile(api, state, deadline, pending)
        if pending is not None and ghost is not None:
            if applied:
                state.resolve(ghost)
            _log_settled(state, pending, applied=applied)
            state.pending = None
            return applied
    return None


def settle(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: was the write applied that ended without an outcome? None when there is none."""
    if state.pending is None:
        return None
    api.place_session(state)
    return (yield from prepare(api, state, deadline))


def execute(api: KatoApi, state: SessionState, deadline: float, write: Write[R]) -> Flow[R]:
    """Flow: apply ``write`` to the session exactly once.

    Raises:
        OutcomeUnknown: it could not be found out before the deadline; the next call settles it.
        SessionConflict: somebody else writes to the session.
        KatoConsulError: it was not applied, for the reason the error gives.
    """
    api.place_session(state)
    if write.resets:  # then it does not matter what became of an earlier write, unless it is late
        if state.pending is not None:
            state.track(state.pending, api.now())
        state.pending, state.restoring = None, False
        if state.id is None:
            yield from open_session(api, state, deadline)
    else:
        yield from prepare(api, state, deadline)
    if write.commits:
        yield from reconcile(api, state, deadline)
        if not state.journal.events and not write.observations:
            # As KATO says it. Asked all the same, a late write could give it something to learn.
            raise BadRequest(write.what, str(state.instance), 400, "Cannot learn from empty STM")
    # It was just read from one that works, so the first time it is sent again without a pause.
    pauses = chain([0.0], api.pauses())
    state.pending = write
    open_end: OutcomeUnknown | None = None
    again = False
    while True:
        assert state.id is not None
        try:
            request = write.request(state.id, api.attempt_timeout, follow_up=again)
            again = True
            found = yield from api.call_session(request, state, deadline)
        except OutcomeUnknown as unknown:
            if (yield from _settle(api, state, write, unknown, deadline)):
                return _answer_from_journal(state, write)
            open_end = unknown
            yield Sleep(max(0.0, min(next(pauses), deadline - api.now())))
        except SessionGone:
            yield from reconcile(api, state, deadline)
        except KatoConsulError as error:
            if open_end is not None and not isinstance(error, KatoAnswerError):
                # An earlier attempt left, and was not there when it was looked for: it may come.
                raise open_end.because(error) from error
            state.pending = None
            raise
        else:
            if write.is_expected(state.journal, found):
                write.apply(state.journal)
                state.pending = None
                answer: R = found
                return answer
            # Acknowledged, but the counter is off: KATO lost something, or somebody else writes.
            try:
                applied = yield from reconcile(api, state, deadline, write, acknowledged=True)
            except SessionConflict:
                raise
            except KatoConsulError as error:
                off = OutcomeUnknown(write.what, state.instance or "", "its answer is off")
                raise off.because(error) from error
            if applied:
                return _answer_from_journal(state, write)
            yield Sleep(max(0.0, min(next(pauses), deadline - api.now())))


def _settle(
    api: KatoApi,
    state: SessionState,
    write: Write[Any],
    unknown: OutcomeUnknown,
    deadline: float,
) -> Flow[bool]:
    """Was the write with the unknown outcome applied?"""
    ghost: InFlightWrite | None = None
    try:
        if write.not_repeatable:
            yield from _wait_for_instance(api, state, unknown.instance, deadline)
        else:
            ghost = state.track(write, api.now())
        applied = yield from reconcile(api, state, deadline, write)
    except SessionConflict:
        raise
    except KatoConsulError as error:
        raise unknown.because(error) from error
    if applied and ghost is not None:
        state.resolve(ghost)
    _log_settled(state, write, applied=applied)
    return applied


def _log_settled(state: SessionState, write: Write[Any], *, applied: bool) -> None:
    state.settlements += 1
    log.info("session.settled", key=state.key, what=write.what, applied=applied)


def _wait_for_instance(
    api: KatoApi, state: SessionState, instance_id: str, deadline: float
) -> Flow[None]:
    """Wait until the instance has nothing of ours in hand any more: it answers, or it is dead.

    What must not be applied twice is not sent to another while a hung instance may come to it.

    Raises:
        NoAnswer: it was still silent at the deadline.
    """
    pauses = api.pauses()
    while (left := deadline - api.now()) > 0:
        request = barrier(state, api.attempt_timeout)
        outcome = yield from api.failover.attempt(request, instance_id, deadline, listed=False)
        if outcome is not None and classify(outcome) is not Delivery.UNKNOWN:
            return
        yield Sleep(min(next(pauses), left))
    raise NoResponse(f"{instance_id} was silent until the deadline")


def _answer_from_journal(state: SessionState, write: Write[R]) -> R:
    assert state.id is not None
    state.pending = None
    return write.answer_from_journal(state.id, state.journal)
