"""Opening a session: creates it in KATO, or attaches to an existing one."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from kato_consul._flow import Flow
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.config_check import read_config, rejected
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._requests.request import Answer, Request
from kato_consul.errors import (
    BadRequest,
    ConfigurationError,
    NoResponse,
    SessionGone,
    StoreUnavailable,
    ValidationFailed,
)

DEFAULT_CONFIG: Mapping[str, Any] = {"process_predictions": False}
"""The configuration of a session, where the caller's does not differ. If KATO computes predictions
with each observation, two sessions of one node hang it for good, or exchange memories (measured on
KATO 3.10.1). `GET .../predictions` computes them in any case."""

DELETE_TIMEOUT = 1.0
"""Seconds that the deletion of a session that is not used may take."""

KEY_METADATA = "kato_consul_key"
"""Metadata key under which a session carries the caller's key. If the response to a create is lost,
its session stays unused until its TTL ends; this entry names the key that it was created for."""


def open_session(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: create KATO's session, with an empty journal, or attach to ``state.attach_id`` if set.

    An error that the same options lead to again is final. The client lets go of the key then, so
    that it can be used with other options.

    Raises:
        SessionGone: the session to attach to does not exist, or the session has ended, and
            no other one takes its place.
        ConfigurationError: KATO did not apply a value of the configuration.
        BadRequest, ValidationFailed: KATO refuses an option.
    """
    if state.refused is not None:
        raise copy.copy(state.refused)
    try:
        yield from _open(api, state, deadline)
    except (ConfigurationError, BadRequest, ValidationFailed, SessionGone) as error:
        state.refused = copy.copy(error)  # without its traceback
        raise


def _open(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    if state.attach_id:
        yield from _attach(api, state, deadline)
        return
    if state.ends_at is not None:
        raise SessionGone(state.key, state.key)
    config = state.journal.config
    created = yield from create_session(api, state, config, deadline)
    if ignored := rejected(config, created.config):
        yield from delete_session(api, created.id, created.instance, deadline)
        raise ConfigurationError(
            f"KATO ignored the session configuration {ignored}: it uses "
            f"{ {name: created.config.get(name) for name in ignored} }. The session was not opened"
        )
    journal = Journal(session_id=created.id).configured(config, created.config)
    if api.owner is not None:
        state.ttl = created.ttl  # an entry has to last longer
        yield from api.owner.switch(state, journal, deadline)
    state.instance = created.instance
    state.journal = journal
    api.place_session(state)


class Created(NamedTuple):
    """A session that KATO has created: its id, the instance's uid, the configuration in use, and
    its time to live in seconds, None if KATO does not say."""

    id: str
    instance: str
    config: Mapping[str, Any]
    ttl: int | None


def create_session(
    api: KatoApi,
    state: SessionState,
    config: Mapping[str, Any],
    deadline: float,
    *,
    follow_up: bool = False,
) -> Flow[Created]:
    """Flow: create a session in KATO with the node, metadata and time to live of ``state``.

    KATO silently ignores all of ``config`` if one value is invalid. ``follow_up``: it takes the
    place of an earlier session.

    Raises:
        StoreUnavailable: KATO's store was down or refused writes until the deadline.
    """
    body: dict[str, object] = {
        "node_id": state.node_id,
        "metadata": {**state.metadata, KEY_METADATA: state.key},
        "config": {**DEFAULT_CONFIG, **config},
    }
    if state.ttl is not None:
        body["ttl_seconds"] = state.ttl
    encoded = msgspec.json.encode(body)
    response, answer = yield from post_session(api, encoded, deadline, follow_up=follow_up)
    config = response.get("session_config") or {}
    ttl = response.get("ttl_seconds", state.ttl)
    return Created(response["session_id"], answer.instance.uid, config, ttl)


def post_session(
    api: KatoApi, body: bytes, deadline: float, *, follow_up: bool = False
) -> Flow[tuple[Any, Answer]]:
    """Flow: let KATO create a session; return its response, and the answer it was in.

    Raises:
        StoreUnavailable: KATO's store was down or refused writes until the deadline.
    """
    # Repeatable: a session whose response was lost holds nothing, and expires.
    request = Request(
        "opening the session",
        "POST",
        "/sessions",
        body,
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shapes.CreatedSession,
        follow_up=follow_up,
    )
    try:
        return (yield from api.call(request, deadline))
    except NoResponse as error:
        if not error.server_error:
            raise
        raise StoreUnavailable("opening the session", str(error)) from error


def delete_session(api: KatoApi, session_id: str, uid: str, deadline: float) -> Flow[None]:
    """Flow: delete a session that is not used, in one attempt. If this fails, it expires."""
    timeout = min(DELETE_TIMEOUT, api.attempt_timeout)
    request = Request("delete", "DELETE", f"/sessions/{session_id}", timeout=timeout)
    yield from api.failover.attempt(request, uid, deadline)


def _attach(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: adopt an existing session as it is: node, configuration, counter and memory.

    If KATO loses it, it is opened again with all of them.
    """
    existing = SessionState(state.key, state.node_id)
    existing.journal = Journal(session_id=state.attach_id)
    info = yield from _read_part(api, existing, "", shapes.Session, deadline)
    config = yield from read_config(api, existing, deadline)
    cognition = yield from _read_part(api, existing, "/cognition-data", shapes.Cognition, deadline)
    data = cognition["cognition_data"]
    state.attached = True
    state.instance = existing.instance
    journal = existing.journal.configured(config, config)
    journal = journal.adopted(data["time"], data["short_term_memory"])
    yield from continue_in(api, state, info, journal, deadline)


def continue_in(
    api: KatoApi,
    state: SessionState,
    info: Mapping[str, Any],
    journal: Journal,
    deadline: float,
) -> Flow[None]:
    """Flow: use a KATO session that was opened under no key. ``info`` is KATO's description of it,
    ``journal`` its memory."""
    state.owns_node = False
    state.node_id = info["node_id"]
    state.metadata = info.get("metadata") or state.metadata
    state.ttl = info.get("ttl_seconds", state.ttl)
    if api.owner is not None:
        yield from api.owner.switch(state, journal, deadline)
    state.journal = journal
    state.attach_id = ""
    api.place_session(state)


def _read_part(
    api: KatoApi, state: SessionState, path: str, shape: type[Any], deadline: float
) -> Flow[Any]:
    target = f"/sessions/{state.id}{path}"
    request = Request(
        "attaching to the session",
        "GET",
        target,
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shape,
    )
    return (yield from api.call_session(request, state, deadline))
