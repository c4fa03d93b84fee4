"""Whole responses: calls on a session whose result is KATO's response, as KATO returns it.

The facades return the part of a response that their callers need. A caller that speaks KATO's own
API gets all of it: what the calls do is the same. The exception is the configuration, of which KATO
takes values that it does not use: these calls take them too.

A session that a caller opens here has **its own id as its key**: it is the id that KATO gave it
first, and stays valid when the session continues under another one.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from kato_consul._directory.entry import check_given
from kato_consul._flow import Flow
from kato_consul._kato import reads, repeatable, writes
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.config_check import rejected
from kato_consul._kato.configuration import set_config
from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.observations import to_json
from kato_consul._kato.opening import DEFAULT_CONFIG, continue_in, post_session
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.repeatable import answered_once
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Acknowledgement
from kato_consul.errors import ConfigurationError

Json = dict[str, Any]

PREDICTS = "process_predictions"

_SHAPES: Mapping[str, type[Any]] = {
    "info": shapes.Session,
    "config": shapes.Config,
    "predictions": shapes.Predictions,
    "percept_data": shapes.Percept,
}


def read(what: str) -> CallFlow[Json]:
    """Return the flow of a read: "info", "config", "predictions" or "percept_data"."""

    def flow(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
        return reads.read_response(api, state, what, _SHAPES[what], deadline)

    return flow


stm = reads.stm_response


def cognition_data(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
    """Flow: read the cognition data. If this client has turned the predictions of each observation
    off, and not the caller, they are those of ``predictions``."""
    shape = shapes.CognitionWithPredictions
    response: Json = yield from reads.read_response(api, state, "cognition_data", shape, deadline)
    if PREDICTS not in state.journal.config:
        of_memory = yield from read("predictions")(api, state, deadline)
        response["cognition_data"]["predictions"] = of_memory["predictions"]
    return response


def exists(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
    """Flow: return whether there is the session: KATO has it, or it can be restored."""
    yield from reads.exists(api, state, deadline)
    found = state.id is not None or state.attach_id != ""
    return {"exists": found, "expired": False, "session_id": state.key}


def delete(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
    """Flow: delete the session."""
    yield from reads.delete(api, state, deadline)
    return {"status": "deleted", "session_id": state.key}


def finalize_training(key: str | None) -> CallFlow[Json]:
    """Return the flow that computes the measures of the node's patterns."""

    def flow(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
        result = yield from reads.finalize_training(api, state, deadline)
        return dict(result)

    return answered_once(flow, "finalize_training", None, key)


def clear_stm(key: str | None) -> CallFlow[Json]:
    """Return the flow that empties the short-term memory."""
    return partial(_as_json, flow=repeatable.clear(writes.clear_stm(), key))


def clear_all(key: str | None) -> CallFlow[Json]:
    """Return the flow that empties the memory, and deletes what the node has learned."""
    return partial(_as_json, flow=repeatable.clear(writes.clear_all(), key))


def extend(ttl_seconds: int, key: str | None) -> CallFlow[Json]:
    """Return the flow that sets the session to expire in ``ttl_seconds`` from now; one that is not
    above 0 ends it, as with KATO."""
    flow: CallFlow[Json]
    if ttl_seconds > 0:
        flow = partial(_write, write=writes.extend(ttl_seconds))
    else:
        flow = partial(_expire, ttl_seconds=ttl_seconds)
    return answered_once(flow, "extend", ttl_seconds, key)


def _expire(api: KatoApi, state: SessionState, deadline: float, *, ttl_seconds: int) -> Flow[Json]:
    yield from reads.delete(api, state, deadline)
    return {"status": "extended", "session_id": state.key, "ttl_seconds": ttl_seconds}


def configure(values: Mapping[str, Any], key: str | None) -> CallFlow[Json]:
    """Return the flow that sets values of the configuration, also those that KATO does not use."""

    write = writes.set_config(values)

    def flow(
        api: KatoApi, state: SessionState, deadline: float, part: CallPart | None
    ) -> Flow[Acknowledgement]:
        try:
            yield from set_config(api, state, deadline, values=values, any_length=True, part=part)
        except ConfigurationError as error:
            if not error.sent:
                raise
        return write.answer_read_back(state.read_back())

    return partial(_as_json, flow=repeatable.single_write(write, flow, key, to_json(values)))


def _as_json(
    api: KatoApi, state: SessionState, deadline: float, *, flow: CallFlow[Any]
) -> Flow[Json]:
    response = yield from flow(api, state, deadline)
    return dict(response)


def _write(api: KatoApi, state: SessionState, deadline: float, *, write: Any) -> Flow[Json]:
    response: Json = yield from execute_write(api, state, deadline, write)
    return response


# --- sessions under their own id ------------------------------------------------------------


def create(asked: Mapping[str, Any]) -> CallFlow[Json]:
    """Return the flow that lets KATO create a session as asked for.

    It runs before there is a session: on the state of one that is never opened.

    Raises:
        ConfigurationError: the session is shared with other processes, and what it is asked for
            with is too large for that.
    """

    def flow(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
        if api.owner is not None:
            check_given("", asked["node_id"], asked.get("metadata") or {}, config)
        response, _ = yield from post_session(api, body, deadline)
        result: Json = response
        return result

    config = asked.get("config") or {}
    body = msgspec.json.encode({**asked, "config": {**DEFAULT_CONFIG, **config}})
    return flow


def create_once(asked: Mapping[str, Any], key: str) -> CallFlow[tuple[Json, bool]]:
    """Return the flow of `create`, which returns the same response if it is repeated, and whether
    it is the first one.

    It runs on a state whose key is that of the request, and which is never opened: its entry in the
    session directory has nothing but the response, which is kept as a whole: a repetition could not
    be answered without it. Its length is limited by that of what is asked for (`check_given`).
    """
    created: Json | None = None

    def first(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
        nonlocal created
        created = yield from create(asked)(api, state, deadline)
        return created

    once = answered_once(first, "create", asked, key, keeps_any=True)

    def flow(api: KatoApi, state: SessionState, deadline: float) -> Flow[tuple[Json, bool]]:
        response = yield from once(api, state, deadline)
        state.ttl = response.get("ttl_seconds")  # how long its entry lasts
        is_new = response is created
        if is_new and api.owner is not None:
            yield from api.owner.switch(state, state.journal, deadline)
        return response, is_new

    return flow


def use_created(response: Json, asked: Mapping[str, Any]) -> CallFlow[Json]:
    """Return the flow that uses the new session of a ``response`` of `create`, under its own id."""

    def flow(api: KatoApi, state: SessionState, deadline: float) -> Flow[Json]:
        config, used = _configuration(response, asked)
        journal = Journal(session_id=response["session_id"]).configured(config, used)
        info = {**asked, "ttl_seconds": response.get("ttl_seconds", asked.get("ttl_seconds"))}
        yield from continue_in(api, state, info, journal, deadline)
        if _predicts_unasked(config, used):
            yield from set_config(api, state, deadline, values=DEFAULT_CONFIG)
            state.journal = state.journal.configured(config, used)
        return response

    return flow


def with_used_config(response: Json, asked: Mapping[str, Any]) -> Json:
    """Return the response to a creation with the configuration that `use_created` leaves."""
    config, used = _configuration(response, asked)
    if _predicts_unasked(config, used):
        return {**response, "session_config": {**used, **DEFAULT_CONFIG}}
    return response


def _configuration(response: Json, asked: Mapping[str, Any]) -> tuple[Json, Json]:
    """Return what KATO uses of the configuration that was asked for, and all that it uses."""
    used, wanted = response.get("session_config") or {}, asked.get("config") or {}
    unused = rejected(wanted, used)
    return {name: value for name, value in wanted.items() if name not in unused}, used


def _predicts_unasked(config: Json, used: Json) -> bool:
    """Return whether KATO computes predictions with each observation although nothing asked for it:
    with one value that is invalid, it has ignored all of them."""
    return bool(used.get(PREDICTS)) and not config.get(PREDICTS)
