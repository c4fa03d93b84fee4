"""Opening a session: creates it in KATO, attaches to an existing one, or replaces a lost one."""

from collections.abc import Mapping
from typing import Any

import msgspec

from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._requests.request import Request
from kato_consul.errors import ConfigurationError

log = logger("session")

DEFAULT_CONFIG: Mapping[str, Any] = {"process_predictions": False}
"""The configuration of a session, where the caller's does not differ. If KATO computes predictions
with each observation, two sessions of one node hang it for good, or exchange memories (measured on
KATO 3.10.1). `GET .../predictions` computes them in any case."""

KEY_METADATA = "kato_consul_key"
"""Metadata key under which a session carries the caller's key. If the response to a create is lost,
its session stays unused until its TTL ends; this entry names the key that it was created for."""


def open_session(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: create KATO's session, with an empty journal, or attach to ``state.attach_id`` if set.

    Raises:
        SessionGone: the session to attach to does not exist.
        ConfigurationError: KATO did not apply a value of ``config``. It silently ignores invalid
            values here, so its response is compared with what was sent.
    """
    if state.attach_id:
        yield from _attach(api, state, deadline)
        return
    body: dict[str, object] = {
        "node_id": state.node_id,
        "metadata": {**state.metadata, KEY_METADATA: state.key},
        "config": {**DEFAULT_CONFIG, **state.config},
    }
    if state.ttl is not None:
        body["ttl_seconds"] = state.ttl
    # Repeatable: a session whose response was lost holds nothing, and expires.
    request = Request(
        "open session",
        "POST",
        "/sessions",
        msgspec.json.encode(body),
        repeatable=True,
        timeout=api.attempt_timeout,
        needs=("session_id",),
    )
    response, answer = yield from api.call(request, deadline)
    applied = response.get("session_config") or {}
    ignored = {
        name: value
        for name, value in state.config.items()
        if name in applied and applied[name] != value
    }
    ignored.update({name: value for name, value in state.config.items() if name not in applied})
    if ignored:
        raise ConfigurationError(
            f"KATO ignored the session configuration {ignored}: it uses "
            f"{ {name: applied.get(name) for name in ignored} }"
        )
    state.id = response["session_id"]
    state.instance = answer.instance.uid
    state.journal = Journal()
    state.journal.configure(applied)
    state.in_flight = []
    api.place_session(state)


def _attach(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: adopt an existing session as it is: node, configuration, counter and memory."""
    state.id = state.attach_id
    try:
        info = yield from _read_part(api, state, "", "node_id", deadline)
        config = yield from _read_part(api, state, "/config", "config", deadline)
        cognition = yield from _read_part(api, state, "/cognition-data", "cognition_data", deadline)
    except BaseException:
        state.id = None
        raise
    state.attach_id = ""
    state.node_id = info["node_id"]
    state.journal = Journal()
    state.journal.configure(config["config"])
    own = {name: config["config"][name] for name in DEFAULT_CONFIG if name in config["config"]}
    state.config = {**state.config, **own}  # reopened, it has its own values, not our defaults
    data = cognition["cognition_data"]
    state.adopt(int(data["time"]), data["short_term_memory"])
    api.place_session(state)


def _read_part(
    api: KatoApi, state: SessionState, path: str, needs: str, deadline: float
) -> Flow[Any]:
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
    """Flow: open a session in place of one that KATO has lost. The caller replays the journal.

    The journal is kept, with the counter that it would have after a replay.
    """
    lost_id, journal = state.id, state.journal
    yield from open_session(api, state, deadline)
    state.journal = journal
    state.reopened += 1
    log.warning(
        "session.reopened", key=state.key, gone=lost_id, id=state.id, replayed=len(journal.entries)
    )
