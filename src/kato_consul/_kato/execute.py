"""Executing a write: sends it, settles an unknown outcome, and verifies the result."""

from itertools import chain
from typing import Any, TypeVar

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import open_session
from kato_consul._kato.reconcile import lock_barrier, reconcile
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
    """Flow: open the session if it is not open; settle a write that an earlier call left pending.

    Return whether that write was applied, None if there was none.
    """
    if state.id is None:
        yield from open_session(api, state, deadline)
    elif state.pending is not None or state.repairing or state.may_have_late_writes(api.now()):
        # The call that made the pending write has ended: its write is settled, and not sent again.
        # While a late write is likely, the session is read before each call: a late write that
        # overwrites exactly one later write leaves counter and length as expected.
        pending = state.pending
        late_write = state.track(pending, api.now()) if pending is not None else None
        applied = yield from reconcile(api, state, deadline, pending)
        if pending is not None and late_write is not None:
            if applied:
                state.resolve(late_write)
            _log_settled(state, pending, applied=applied)
            state.pending = None
            return applied
    return None


def settle(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
    """Flow: return whether the pending write was applied, None if there is none."""
    if state.pending is None:
        return None
    api.place_session(state)
    return (yield from prepare(api, state, deadline))


def execute_write(api: KatoApi, state: SessionState, deadline: float, write: Write[R]) -> Flow[R]:
    """Flow: apply ``write`` to the session exactly once.

    Raises:
        OutcomeUnknown: the outcome was not known before the deadline; the next call settles it.
        SessionConflict: another writer changed the session.
        KatoConsulError: the write was not applied, for the reason that the error gives.
    """
    api.place_session(state)
    if write.resets:  # the outcome of an earlier write does not matter, unless it is late
        if state.pending is not None:
            state.track(state.pending, api.now())
        state.pending, state.repairing = None, False
        if state.id is None:
            yield from open_session(api, state, deadline)
    else:
        yield from prepare(api, state, deadline)
    if write.learns:
        yield from reconcile(api, state, deadline)
        if not state.journal.events and not write.observations:
            # KATO's own error. If the learn was sent, a late write could give it events to learn.
            raise BadRequest(write.what, str(state.instance), 400, "Cannot learn from empty STM")
    # A retry follows a read that an instance just answered, so the first one needs no delay.
    delays = chain([0.0], api.retry_delays())
    state.pending = write
    unsettled: OutcomeUnknown | None = None
    is_retry = False
    while True:
        assert state.id is not None
        try:
            request = write.request(state.id, api.attempt_timeout, follow_up=is_retry)
            is_retry = True
            response = yield from api.call_session(request, state, deadline)
        except OutcomeUnknown as unknown:
            if (yield from _was_applied(api, state, write, unknown, deadline)):
                return _answer_from_journal(state, write)
            unsettled = unknown
            yield Sleep(max(0.0, min(next(delays), deadline - api.now())))
        except SessionGone:
            yield from reconcile(api, state, deadline)
        except KatoConsulError as error:
            if unsettled is not None and not isinstance(error, KatoAnswerError):
                # An earlier attempt was sent and not found applied: it may still be applied.
                raise unsettled.because(error) from error
            state.pending = None
            raise
        else:
            if write.is_expected(state.journal, response):
                write.apply(state.journal)
                state.pending = None
                result: R = response
                return result
            # Acknowledged with another counter: KATO lost something, or there is another writer.
            try:
                applied = yield from reconcile(api, state, deadline, write, acknowledged=True)
            except SessionConflict:
                raise
            except KatoConsulError as error:
                unexpected = OutcomeUnknown(
                    write.what, state.instance or "", "its response is not the expected one"
                )
                raise unexpected.because(error) from error
            if applied:
                return _answer_from_journal(state, write)
            yield Sleep(max(0.0, min(next(delays), deadline - api.now())))


def _was_applied(
    api: KatoApi,
    state: SessionState,
    write: Write[Any],
    unknown: OutcomeUnknown,
    deadline: float,
) -> Flow[bool]:
    """Flow: read the session, and return whether the write with the unknown outcome was applied."""
    late_write: InFlightWrite | None = None
    try:
        if write.not_repeatable:
            yield from _wait_for_instance(api, state, unknown.instance, deadline)
        else:
            late_write = state.track(write, api.now())
        applied = yield from reconcile(api, state, deadline, write)
    except SessionConflict:
        raise
    except KatoConsulError as error:
        raise unknown.because(error) from error
    if applied and late_write is not None:
        state.resolve(late_write)
    _log_settled(state, write, applied=applied)
    return applied


def _log_settled(state: SessionState, write: Write[Any], *, applied: bool) -> None:
    state.settlements += 1
    log.info("session.settled", key=state.key, what=write.what, applied=applied)


def _wait_for_instance(
    api: KatoApi, state: SessionState, instance_id: str, deadline: float
) -> Flow[None]:
    """Flow: wait until the instance responds again, or no request reaches it any more.

    Either way it has finished this client's earlier requests.

    A write that must not be applied twice is not sent elsewhere while a hung instance may still
    apply it.

    Raises:
        NoResponse: it sent no response until the deadline.
    """
    delays = api.retry_delays()
    while (remaining := deadline - api.now()) > 0:
        request = lock_barrier(state, api.attempt_timeout)
        outcome = yield from api.failover.attempt(request, instance_id, deadline, listed=False)
        if outcome is not None and classify(outcome) is not Delivery.UNKNOWN:
            return
        yield Sleep(min(next(delays), remaining))
    raise NoResponse(f"{instance_id} sent no response until the deadline")


def _answer_from_journal(state: SessionState, write: Write[R]) -> R:
    assert state.id is not None
    state.pending = None
    return write.answer_from_journal(state.id, state.journal)
