"""Opening a session, and opening it again when it is really gone."""

import msgspec

from kato_consul.errors import ConfigurationError
from kato_consul.flow import Flow
from kato_consul.log import logger
from kato_consul.requesting.failover import Request
from kato_consul.sessions.asking import Asking
from kato_consul.sessions.journal import Journal
from kato_consul.sessions.state import SessionState

log = logger("session")

MARK = "kato_consul_key"
"""Metadata key under which a session carries the caller's key. A create whose answer was lost
leaves a session that nobody uses; the mark tells whose it was, and its TTL ends it."""


def open_session(asking: Asking, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: make KATO's session for ``state``, whose journal starts empty.

    Raises:
        ConfigurationError: KATO took over another value than was asked for in ``config``. It
            ignores invalid ones here without a word, so they are compared.
    """
    body: dict[str, object] = {
        "node_id": state.node_id,
        "metadata": {**state.metadata, MARK: state.key},
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
        timeout=asking.attempt_timeout,
        needs=("session_id",),
    )
    found, answer = yield from asking.ask(request, deadline)
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
    state.ghosts = []
    asking.begin(state)


def reopen_session(asking: Asking, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: a session in place of one that is gone; its journal is to be replayed by the caller.

    The journal is kept, with the counter that it would have after a replay.
    """
    gone, journal = state.id, state.journal
    yield from open_session(asking, state, deadline)
    state.journal = journal
    state.reopened += 1
    log.warning(
        "session.reopened", key=state.key, gone=gone, id=state.id, replayed=len(journal.entries)
    )
