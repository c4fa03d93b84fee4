"""Reads of a session, what may be repeated at will, and its end."""

import contextlib
from typing import Any

from kato_consul._flow import Flow
from kato_consul._kato.execute import prepare
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
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
from kato_consul._requests.failover import Request
from kato_consul.errors import SessionGone


def predictions(api: KatoApi, state: SessionState, deadline: float) -> Flow[list[Prediction]]:
    """Flow: what KATO predicts from the short-term memory, best first.

    Where the memory holds a single symbol, KATO gives ``past``, ``present`` and ``future`` as plain
    lists of symbols; they become lists of events here, as they are otherwise.
    """
    found = yield from _read(api, state, "predictions", deadline)
    for prediction in found["predictions"]:
        for part in ("past", "present", "future"):
            events = prediction[part]
            prediction[part] = [[one] if isinstance(one, str) else one for one in events]
    answer: list[Prediction] = found["predictions"]
    return answer


def stm(api: KatoApi, state: SessionState, deadline: float) -> Flow[list[Event]]:
    """Flow: the events of the short-term memory, oldest first.

    They are compared with what KATO acknowledged, since they are at hand: what it lost is put back.
    """
    found = yield from _read(api, state, "stm", deadline)
    events: list[Event] = found["stm"]
    if not state.journal.matches(state.journal.time, events):
        yield from reconcile(api, state, deadline)
        found = yield from _read(api, state, "stm", deadline)
        events = found["stm"]
    return events


def percept_data(api: KatoApi, state: SessionState, deadline: float) -> Flow[PerceptData]:
    """Flow: the last observation, as KATO took it."""
    found = yield from _read(api, state, "percept-data", deadline, needs="percept_data")
    answer: PerceptData = found["percept_data"]
    return answer


def cognition_data(api: KatoApi, state: SessionState, deadline: float) -> Flow[CognitionData]:
    """Flow: what the session has in mind, its counter included."""
    found = yield from _read(api, state, "cognition-data", deadline, needs="cognition_data")
    answer: CognitionData = found["cognition_data"]
    return answer


def info(api: KatoApi, state: SessionState, deadline: float) -> Flow[SessionInfo]:
    """Flow: what KATO knows of the session."""
    answer: SessionInfo = yield from _read(api, state, "", deadline, needs="session_id")
    return answer


def config(api: KatoApi, state: SessionState, deadline: float) -> Flow[dict[str, Any]]:
    """Flow: the session's configuration, defaults included."""
    found = yield from _read(api, state, "config", deadline)
    answer: dict[str, Any] = found["config"]
    return answer


def finalize_training(api: KatoApi, state: SessionState, deadline: float) -> Flow[FinalizeResult]:
    """Flow: compute the measures of all patterns of the session's node.

    It may take as long as the whole call, and doing it again does no harm.
    """
    patience = deadline - api.now()
    answer: FinalizeResult = yield from _read(
        api, state, "finalize-training", deadline, "POST", needs="status", timeout=patience
    )
    return answer


def exists(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: does KATO have the session? One that was never opened is not opened for this."""
    if state.id is None:
        return False
    return (yield from api.session_exists("exists", state, deadline))


def delete(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: delete KATO's session. One that is gone already is as good as deleted."""
    if state.id is None:
        return
    target = f"/sessions/{state.id}"
    request = Request("delete", "DELETE", target, repeatable=True, timeout=api.attempt_timeout)
    # Gone already: somebody was faster, or our own first attempt was.
    with contextlib.suppress(SessionGone):
        yield from api.call_session(request, state, deadline)
    state.id = None
    api.release_placement(state)
    state.journal = Journal()
    state.pending, state.restoring, state.in_flight = None, False, []


def _read(
    api: KatoApi,
    state: SessionState,
    path: str,
    deadline: float,
    method: str = "GET",
    *,
    needs: str = "",
    timeout: float | None = None,
) -> Flow[Any]:
    api.place_session(state)
    yield from prepare(api, state, deadline)
    while True:
        request = Request(
            path or "info",
            method,
            f"/sessions/{state.id}/{path}".rstrip("/"),
            repeatable=True,
            timeout=api.attempt_timeout if timeout is None else timeout,
            needs=(needs or path,),
        )
        try:
            return (yield from api.call_session(request, state, deadline))
        except SessionGone:
            yield from reconcile(api, state, deadline)
