"""Opening a session, and opening it again when it is really gone."""

from typing import Any

import msgspec

from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._requests.failover import Request
from kato_consul.errors import ConfigurationError

log = logger("session")

KEY_METADATA = "kato_consul_key"
"""Metadata key under which a session carries the caller's key. A create whose answer was lost
leaves a session that nobody uses; the mark tells whose it was, and its TTL ends it."""


def open_session(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: make KATO's session for ``state``, whose journal starts empty; or go on with the one
    that it is to be attached to.

    Raises:
        SessionGone: there is none to be attached to.
        ConfigurationError: KATO took over another value than was asked for in ``config``. It
            ignores invalid ones here without a word, so they are compared.
    """
    if state.attach:
        yield from _attach(api, state, deadline)
        return
    body: dict[str, object] = {
        "node_id": state.node_id,
        "metadata": {**state.metadata, KEY_METADATA: state.key},
    }
    if state.config:
        body["config"] = dict(state.config)
    if state.ttl is not None:
        body["ttl_seconds"] = state.ttl
    # Creating twice is harmless: the session whose answer was lost holds nothing, and expires.
    request = Request(
        "open session",
        "POST",
        "/sessions",
        msgspec.json.encode(body),
        repeatable=True,
        timeout=api.attempt_timeout,
        needs=("session_id",),
    )
    found, answer = yield from api.call(request, deadline)
    taken = found.get("session_config") or {}
    ignored = {
        name: value
        for name, value in state.config.items()
        if name in taken and taken[name] != value
    }
    ignored.update({name: value for name, value in state.config.items() if name not in taken})
    if ignored:
        raise ConfigurationError(
            f"KATO ignored the session configuration {ignored}: it has "
            f"{ {name: taken.get(name) for name in ignored} }"
        )
    state.id = found["session_id"]
    state.instance = answer.instance.uid
    state.journal = Journal()
    state.journal.configure(taken)
    state.in_flight = []
    api.place_session(state)


def _attach(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Take over a session as it is: node, configuration, counter and memory."""
    state.id = state.attach
    try:
        info = yield from _read(api, state, "", "node_id", deadline)
        found = yield from _read(api, state, "/config", "config", deadline)
        mind = yield from _read(api, state, "/cognition-data", "cognition_data", deadline)
    except BaseException:
        state.id = None
        raise
    state.attach = ""
    state.node_id = info["node_id"]
    state.journal = Journal()
    state.journal.configure(found["config"])
    state.adopt(int(mind["cognition_data"]["time"]), mind["cognition_data"]["short_term_memory"])
    api.place_session(state)


def _read(api: KatoApi, state: SessionState, path: str, needs: str, deadline: float) -> Flow[Any]:
    target = f"/sessions/{state.id}{path}"
    request = Request(
        "attach to session",
        "GET",
        target,
        repeatable=True,
        timeout=api.attempt_timeout,
        needs=(needs,),
    )
    return (yield from api.call_session(request, state, deadline))


def reopen_session(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: a session in place of one that is gone; its journal is to be replayed by the caller.

    The journal is kept, with the counter that it would have after a replay.
    """
    gone, journal = state.id, state.journal
    yield from open_session(api, state, deadline)
    state.journal = journal
    state.reopened += 1
    log.warning(
        "session.reopened", key=state.key, gone=gone, id=state.id, replayed=len(journal.entries)
    )
