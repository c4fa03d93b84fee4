"""Replacement: continues a session under another KATO session, restored from the journal.

KATO has no idempotency key and no fencing token, but it gives each session an id of its own. So a
session is left whenever its state cannot be trusted: KATO has lost it or a part of it, or a write
that was given up on may still be applied in it. What is applied late then reaches an id that is not
read any more.

The new session is filled and verified before it takes the place of the old one. Until then nothing
changes, so a replacement can be abandoned at any point.
"""

from typing import Any

import msgspec

from kato_consul._flow import Flow, Sleep
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.config_check import rejected, require_used
from kato_consul._kato.journal import EMPTY, Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.opening import DEFAULT_CONFIG, create_session, delete_session
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul._kato.write import Write
from kato_consul._kato.writes import set_config
from kato_consul._logging import logger
from kato_consul._requests.request import Request
from kato_consul.errors import (
    BadRequest,
    ConfigurationError,
    GatewayRefused,
    KatoError,
    NoResponse,
    OutcomeUnknown,
    RequestNotSent,
    ServerFailed,
    SessionGone,
    StoreUnavailable,
    ValidationFailed,
)

log = logger("session")

REPLAY_EACH = 0.05
"""Seconds added to the timeout of an attempt for each replayed observation. A real KATO takes 10 to
15 ms for one on two busy cores."""

RESTORING = "restoring the session"
"""What errors call it."""

MAX_TRIES = 10
"""New sessions that are begun for one replacement. Each that fails stays in KATO until it expires;
with the pauses between them, ten take about four seconds."""


def replace_session(
    api: KatoApi,
    state: SessionState,
    journal: Journal,
    deadline: float,
    *,
    reason: str,
    applied: Write[Any] | None = None,
) -> Flow[None]:
    """Flow: restore ``journal`` in a new KATO session, and continue there.

    ``journal`` is complete. ``reason`` is logged: "gone", "differs" or "late write possible".
    ``applied`` is the pending write if ``journal`` includes it.

    Raises:
        KatoConsulError: the new session could not be filled before the deadline. The old one and
            ``state`` are as before.
    """
    failure: KatoError | None = None
    for tries, delay in enumerate(api.retry_delays(), start=1):
        draft = SessionState(
            state.key, state.node_id, metadata=state.metadata, ttl=state.ttl, avoid=state.avoid
        )
        draft.journal = journal
        try:
            yield from _fill(api, draft, deadline)
            time, stm = yield from read_session(api, draft, deadline, follow_up=True)
            if draft.journal.matches(time, stm):
                break
            failure = StoreUnavailable(RESTORING, "acknowledged, and not saved")
        except (OutcomeUnknown, SessionGone, ServerFailed) as error:
            if isinstance(error, GatewayRefused) and error.lacks_credentials:
                raise
            failure = error
        except RequestNotSent as error:  # no time is left: what failed before is the reason
            if failure is None:
                raise
            raise _not_restored(failure) from error
        except (ConfigurationError, BadRequest, ValidationFailed):
            # Told once: from the next call on, the session goes on without these values.
            state.journal = state.journal.configured(draft.journal.config, EMPTY)
            raise
        finally:
            api.release_placement(draft)
            state.failovers += draft.failovers
        remaining = deadline - api.now()
        if remaining <= 0 or tries == MAX_TRIES:
            raise _not_restored(failure) from failure
        yield Sleep(min(delay, remaining))
    if api.owner is not None:
        # The entry has both at once: no takeover could see what a new session has from its start.
        with state.noting_applied(applied):
            yield from api.owner.switch(state, draft.journal, deadline)
    left = None if state.attached or reason == "gone" else state.id
    log.warning(
        "session.replaced",
        key=state.key,
        id=state.id,
        new_id=draft.id,
        reason=reason,
        replayed=len(draft.journal),
    )
    api.release_placement(state)
    state.unsaved = None
    state.store_loses = False
    state.attached = False
    state.instance = draft.instance
    if applied is None:
        state.journal = draft.journal
    else:
        state.commit(draft.journal, applied)
    api.place_session(state)
    if left is not None:
        yield from delete_session(api, left, state.current, deadline)


def _not_restored(failure: KatoError) -> KatoError:
    """Return the error for a session that could not be restored before the deadline."""
    if isinstance(failure, OutcomeUnknown):  # its store may be all right
        return NoResponse(f"{RESTORING}: {failure.what} on {failure.instance}: {failure.reason}")
    return StoreUnavailable(RESTORING, str(failure))


def leave_session(
    api: KatoApi,
    state: SessionState,
    journal: Journal,
    deadline: float,
    *,
    applied: Write[Any] | None = None,
) -> Flow[None]:
    """Flow: continue in another session, because a write may be applied late in this one.

    See `replace_session`.
    """
    reason = "late write possible"
    yield from replace_session(api, state, journal, deadline, reason=reason, applied=applied)
    state.moves += 1


def read_session(
    api: KatoApi, state: SessionState, deadline: float, *, follow_up: bool = False
) -> Flow[tuple[int, list[Event]]]:
    """Flow: read the session's counter and STM, in one response."""
    request = Request(
        "reading the session",
        "GET",
        f"/sessions/{state.id}/cognition-data",
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shapes.Cognition,
        follow_up=follow_up,
    )
    response = yield from api.call_session(request, state, deadline)
    data = response["cognition_data"]
    return data["time"], data["short_term_memory"]


def require_writable_store(api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: return if KATO's store takes writes: a session can be created in it.

    Raises:
        StoreUnavailable: it does not.
    """
    created = yield from create_session(api, state, {}, deadline)
    yield from delete_session(api, created.id, created.instance, deadline)


def _fill(api: KatoApi, draft: SessionState, deadline: float) -> Flow[None]:
    """Flow: create KATO's session for ``draft``, with the configuration and events of its journal.

    If ``max_pattern_length`` was lowered, KATO would learn from the replay what was not learned
    before. Then that value is set after the replay.
    """
    journal = draft.journal
    wanted = {**DEFAULT_CONFIG, **journal.config}
    at_creation = dict(journal.config)
    if 0 < journal.auto_learn.length <= journal.events:
        wanted["max_pattern_length"] = journal.auto_learn.length
        at_creation["max_pattern_length"] = 0
    created = yield from create_session(api, draft, at_creation, deadline, follow_up=True)
    used, draft.instance = created.config, created.instance
    draft.journal = journal.replayed_in(created.id).configured(journal.config, used)
    api.place_session(draft)
    if len(journal):
        yield from _send(api, draft, observe_sequence(journal.entries), deadline)
    # Creating a session checks values differently than setting them, and takes all or none.
    asked = {name: wanted[name] for name in wanted if name in journal.config or name in used}
    if missing := rejected(asked, used):
        rest = {name: value for name, value in journal.config.items() if name not in missing}
        draft.journal = draft.journal.configured(rest, EMPTY)
        yield from _send(api, draft, set_config(wanted), deadline)
        yield from require_used(api, draft, missing, deadline)


def _send(api: KatoApi, draft: SessionState, write: Write[Any], deadline: float) -> Flow[None]:
    assert draft.id is not None
    timeout = api.attempt_timeout + REPLAY_EACH * len(write.observations)
    request = write.request(draft.id, timeout, follow_up=True)
    request = msgspec.structs.replace(request, what=f"{RESTORING}: {write.what}")
    yield from api.call_session(request, draft, deadline)
