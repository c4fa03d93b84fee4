"""Reads of a session, and the other calls that are safe to repeat, such as `delete`."""

from typing import Any

from kato_consul._flow import Flow, Sleep
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.execute import prepare
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import DEFAULT_CONFIG
from kato_consul._kato.ownership import LeaseLost, Owner
from kato_consul._kato.reconcile import reconcile
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import (
    CognitionData,
    Event,
    FinalizeResult,
    PerceptData,
    Prediction,
    SessionInfo,
)
from kato_consul._requests.request import Request
from kato_consul.errors import (
    KatoConsulError,
    NoResponse,
    OutcomeUnknown,
    SessionConflict,
    SessionGone,
    StoreUnavailable,
)

DELETED = "KATO has deleted it, and the session directory has not recorded that"


def predictions(api: KatoApi, state: SessionState, deadline: float) -> Flow[list[Prediction]]:
    """Flow: return KATO's predictions from the short-term memory, best first.

    If the memory holds a single symbol, KATO returns ``past``, ``present`` and ``future`` as plain
    lists of symbols. They are converted to lists of events here, as they are otherwise.
    """
    response = yield from read_response(api, state, "predictions", shapes.Predictions, deadline)
    return _with_events(response["predictions"])


def _with_events(predictions: list[Any]) -> list[Prediction]:
    for prediction in predictions:
        for part in ("past", "present", "future"):
            events = prediction[part]
            prediction[part] = [[event] if isinstance(event, str) else event for event in events]
    return predictions


def stm(api: KatoApi, state: SessionState, deadline: float) -> Flow[list[Event]]:
    """Flow: return the events of the short-term memory, oldest first."""
    response = yield from stm_response(api, state, deadline)
    events: list[Event] = response["stm"]
    return events


def stm_response(api: KatoApi, state: SessionState, deadline: float) -> Flow[dict[str, Any]]:
    """Flow: return KATO's response with the short-term memory.

    It is compared with the journal. If they differ, the session is reconciled and read again.
    """
    response: dict[str, Any]
    response = yield from read_response(api, state, "stm", shapes.Stm, deadline)
    if not state.journal.matches(state.journal.time, response["stm"]):
        yield from reconcile(api, state, deadline)
        response = yield from read_response(api, state, "stm", shapes.Stm, deadline)
    return response


def percept_data(api: KatoApi, state: SessionState, deadline: float) -> Flow[PerceptData]:
    """Flow: return the last observation, as KATO processed it."""
    response = yield from read_response(api, state, "percept_data", shapes.Percept, deadline)
    result: PerceptData = response["percept_data"]
    return result


def cognition_data(api: KatoApi, state: SessionState, deadline: float) -> Flow[CognitionData]:
    """Flow: return the session's current state, including its counter.

    KATO has predictions in it only if it processes them with each observation. Otherwise they are
    requested too.
    """
    response = yield from read_response(
        api, state, "cognition_data", shapes.CognitionWithPredictions, deadline
    )
    result: CognitionData = response["cognition_data"]
    if {**DEFAULT_CONFIG, **state.journal.config}["process_predictions"] is False:
        result["predictions"] = yield from predictions(api, state, deadline)
    else:
        result["predictions"] = _with_events(result["predictions"])
    return result


def info(api: KatoApi, state: SessionState, deadline: float) -> Flow[SessionInfo]:
    """Flow: return KATO's description of the session."""
    result: SessionInfo = yield from read_response(api, state, "info", shapes.Session, deadline)
    return result


def config(api: KatoApi, state: SessionState, deadline: float) -> Flow[dict[str, Any]]:
    """Flow: return the session's configuration, including defaults."""
    response = yield from read_response(api, state, "config", shapes.Config, deadline)
    result: dict[str, Any] = response["config"]
    return result


def finalize_training(api: KatoApi, state: SessionState, deadline: float) -> Flow[FinalizeResult]:
    """Flow: compute the measures of all patterns of the session's node.

    One attempt may take all the time until the deadline. It is safe to repeat.
    """
    timeout = deadline - api.now()
    result: FinalizeResult = yield from read_response(
        api, state, "finalize_training", shapes.Status, deadline, "POST", timeout=timeout
    )
    return result


def exists(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: return whether KATO has the session. A session that is not open is not opened."""
    if state.id is None:
        return False
    found = yield from api.session_exists("exists", state, deadline)
    if api.owner is not None:
        yield from api.owner.after_read(state, deadline)
    return found


def delete(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: delete KATO's session. If it is gone already, that is a success too.

    If another process has continued it meanwhile, in another of KATO's, that one is deleted, too.

    Raises:
        OutcomeUnknown: no response to it was received before the deadline, or the session directory
            could not record it.
    """
    while state.id is not None:
        yield from _delete(api, state, deadline)
        if api.owner is None or (yield from _is_recorded(api, api.owner, state, deadline)):
            api.release_placement(state)
            state.close()


def _delete(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    target = f"/sessions/{state.id}"
    request = Request(
        "delete",
        "DELETE",
        target,
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shapes.Status,
    )
    state.deleting = True
    if api.owner is not None:
        yield from _announce_deletion(api.owner, state, deadline)
    try:
        yield from api.call_session(request, state, deadline)
    except SessionGone:
        pass  # deleted by another client, or by an earlier attempt of this call
    except (NoResponse, StoreUnavailable) as error:
        raise OutcomeUnknown("delete", state.instance or "", str(error)) from error


def _announce_deletion(owner: Owner, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: record that KATO's session is about to be deleted: it is not lost if it is gone."""
    try:
        yield from owner.switch(state, state.journal, deadline)
    except (KatoConsulError, LeaseLost):
        state.deleting = False  # nothing was sent
        raise


def _is_recorded(api: KatoApi, owner: Owner, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: record that KATO has deleted the session. Return False if its lease was lost before;
    then it is owned again."""
    try:
        try:
            yield from owner.removed(state, deadline)
        except LeaseLost:
            yield from owner.resume(api, state, deadline)
            return False
    except SessionConflict:  # it does not matter what was there
        return False
    except KatoConsulError as error:
        unknown = OutcomeUnknown("delete", state.instance or "", DELETED, answered=True)
        raise unknown.because(error) from error
    return True


def read_response(
    api: KatoApi,
    state: SessionState,
    what: str,
    shape: type[Any],
    deadline: float,
    method: str = "GET",
    *,
    timeout: float | None = None,
) -> Flow[Any]:
    """Flow: return KATO's response to a read of the session, which has the fields of ``shape``.

    ``what`` is the name of the read: with hyphens its path, "info" for none. ``timeout`` is in
    seconds, for one attempt.
    """
    path = "" if what == "info" else what.replace("_", "-")
    api.place_session(state)
    yield from prepare(api, state, deadline)
    for delay in api.retry_delays():
        request = Request(
            what,
            method,
            f"/sessions/{state.id}/{path}".rstrip("/"),
            repeatable=True,
            timeout=api.attempt_timeout if timeout is None else timeout,
            shape=shape,
        )
        try:
            response = yield from api.call_session(request, state, deadline)
        except SessionGone:
            yield from reconcile(api, state, deadline)
        else:
            if api.owner is not None:
                yield from api.owner.after_read(state, deadline)
            return response
        yield Sleep(max(0.0, min(delay, deadline - api.now())))
    raise AssertionError("the delays have no end")
