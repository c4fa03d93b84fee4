"""Hand-over: gives a session up in order, when another process waits for it.

The session's state goes into its entry, and the process that waits longest continues from there,
in the same session of KATO's. So it is given up only between two calls. A session that is idle is
handed over at once; one in use after `SLICE` seconds, or as soon as it pauses.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import msgspec

from kato_consul._flow import LONG_WAIT, Flow, Sleep, WaitForChange
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import LeaseLost
from kato_consul._kato.reconcile import read_memory
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._owning.entry_state import DEFAULT_TTL
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._runtime_defaults import clock
from kato_consul.errors import KatoConsulError, SessionConflict, SessionDirectoryUnavailable

log = logger("session")

SLICE = 0.25
"""Seconds that a process keeps a session in use while others wait for it. A hand-over takes about
10 ms on Consul: with one after each call, most of the time would go into them."""

PAUSE = 0.002
"""Seconds without a call after which a session counts as idle: a caller that makes one call after
the other needs less in between."""

RELEASE_WITHIN = 0.1
"""Seconds that a call must have left to hand its session over at its end."""

BUSY_PAUSE = 0.02
"""Seconds until a session that had a call is looked at again: usually that call hands it over."""

DISOWN_WITHIN = 1.0
"""Seconds that giving up a session may take that this process does not know of."""


def due(owned: OwnedSessions, *, busy: bool) -> Flow[list[SessionState]]:
    """Flow: wait until there are sessions to hand over; return them.

    They are idle, or were in use for long enough. The shell then hands each over if it has no call;
    otherwise that call does it at its end, or they are returned again. ``busy``: one of those
    returned last had a call.

    Calls in other threads change what is read here, so each value is read once.
    """
    wanted = owned.directory.wanted
    if busy:
        yield Sleep(BUSY_PAUSE)
    while True:
        seen = wanted.current
        for key in seen:
            is_known = partial(owned.states.__contains__, key)  # to a call, also if that waits
            if not is_known():
                with suppress(SessionDirectoryUnavailable):
                    until = clock() + DISOWN_WITHIN
                    yield from owned.directory.disown(key, until, is_known)
        others_wait = list(_wanted(owned, seen))
        ready = [state for state in others_wait if _is_due(state)]
        if ready:
            return ready
        # A session that is being acquired again is wanted, and not held yet: nothing changes then.
        pause = BUSY_PAUSE if seen else LONG_WAIT
        yield WaitForChange(wanted, seen, PAUSE if others_wait else pause)


def _wanted(owned: OwnedSessions, keys: frozenset[str]) -> Iterator[SessionState]:
    for key in keys:
        state = owned.states.get(key)
        own = None if state is None else state.ownership
        if state is None or own is None:
            continue
        held = own.holding
        if held is not None:
            held.wanted = True
        yield state


def _is_due(state: SessionState) -> bool:
    own = state.ownership
    held = None if own is None else own.held
    if own is None or held is None:
        return own is not None
    now = held.lease.now()
    return now - own.used_at > PAUSE or now - held.acquired_at >= SLICE


def release(owned: OwnedSessions, api: KatoApi, state: SessionState, deadline: float) -> Flow[None]:
    """Flow: give the session up, between two calls. If it cannot be given up in order, the next
    owner takes it over.

    Nothing is raised: if the directory cannot be reached, the session counts as lost.
    """
    own = state.ownership
    if own is None:
        return
    if own.held is None and own.acquired is None:  # its call was interrupted before it knew
        with suppress(SessionDirectoryUnavailable):
            yield from owned.directory.disown(state.key, deadline)
        return
    try:
        if own.held is not None:
            held = own.held
            if state.has_expired(api.now()):
                state.close()  # the next owner cannot know when it was used last
            orderly = yield from _is_settled(api, state, deadline)
            if orderly and own.calls is not None:
                own.calls.close(None)  # the next owner's writes do not show whether it is applied
            entry = owned.entry_after(held.entry, state, state.journal, released=orderly)
            if (used_at := _used_at(api, state)) is not None:
                entry = msgspec.structs.replace(entry, written_at=used_at)
        else:  # it was never continued: it is as it was
            assert own.acquired is not None
            held, previous = own.acquired
            entry = held.given_back(previous)
        yield from owned.directory.release(held, entry, deadline)
        owned.written(own, held, entry)
        own.released = True
    except LeaseLost:
        pass
    except SessionDirectoryUnavailable as error:
        log.warning("session.not_released", key=state.key, why=str(error))
    finally:
        owned.lose(state)


def _used_at(api: KatoApi, state: SessionState) -> float | None:
    """Return the Unix time at which a session was used last that ends a time to live after that,
    None for any other. Its entry counts as written then: a process that reads it later could not
    tell otherwise that the session has ended."""
    if state.ends_at is None:
        return None
    return time.time() + state.ends_at - api.now() - (state.ttl or DEFAULT_TTL)


def _is_settled(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: return whether nothing that this process sent is on its way or without an outcome."""
    if state.pending is not None or state.deleting:
        return False
    if state.id is None or (state.unsaved is None and not state.store_loses):
        return True
    journal = state.journal
    try:
        yield from read_memory(api, state, deadline)
    except SessionConflict:  # found again by the next call, which raises it
        state.journal = journal
    except KatoConsulError:
        return False
    return True
