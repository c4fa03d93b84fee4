"""Continuing: from what a session goes on that this process has acquired.

| the entry                                          | continues with                              |
| -------------------------------------------------- | ------------------------------------------- |
| there was none                                     | a new session                               |
| it is gone, and this process owned it once         | its own memory, unless that is outdated     |
| this process owned it last                         | its own memory                              |
| its owner has released it                          | the entry's state, in the same KATO session |
| otherwise: its owner died, or was stopped          | a cut, in another KATO session (`takeover`) |
"""

import copy

from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import LeaseLost, Ownership
from kato_consul._kato.replacement import read_session
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._owning.entry_state import (
    cut_of,
    doubtful_learn,
    found,
    restored,
    restored_calls,
    shows,
)
from kato_consul._owning.handover import release
from kato_consul._owning.interrupted import (
    Interrupted,
    interrupted_write,
    is_deleted,
    settle_interrupted,
)
from kato_consul._owning.lost_entry import continue_without_entry
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.refusals import differs, other_options, two_sessions
from kato_consul._owning.takeover import take_over
from kato_consul.errors import SessionConflict, SessionGone

log = logger("session")


def continue_session(
    owned: OwnedSessions, api: KatoApi, state: SessionState, own: Ownership, deadline: float
) -> Flow[bool | None]:
    """Flow: own an acquired session completely.

    Return whether ``state.pending``, or a deletion without an outcome, was applied. None: there is
    none, or it has to be settled by reading KATO, as if the session had been owned all the time; or
    it may be applied, and this cannot be determined any more: then ``own.unknown`` is set.

    Raises:
        LeaseLost: another process has acquired it.
        SessionConflict: the directory lost the entry and another process opened another session, or
            KATO's state is not the one that the last owner left. The next call continues from it.
        ConfigurationError: the session was opened with another node than this process asks for,
            or is another one of KATO's than it would attach to.
        KatoConsulError: KATO could not be read, or the session not be restored.
    """
    assert own.acquired is not None
    held, previous = own.acquired
    if previous is None and own.epoch:
        return (yield from continue_without_entry(owned, api, state, held, deadline))
    if previous is None or _was_left_as_known(owned, state, own, previous):
        owned.complete(state, held)
        return None
    refused = other_options(state, previous)
    if refused is not None:  # the client lets go of the key, as after a refusal of KATO's
        state.refused = copy.copy(refused)
        yield from release(owned, api, state, deadline)
        raise refused
    conflict: SessionConflict | None = None
    is_another = bool(own.epoch) and previous.incarnation != own.incarnation
    if is_another and held.lease.now() < own.expires_at:  # it was lost, and had not expired
        conflict = two_sessions(state, previous)
    successor = _successor(state, held.entry)
    orderly, earlier = previous.released, own.calls
    if not held.entry.id:
        successor.journal = Journal(state.journal.config)
        own.calls = restored_calls(held.entry, own.calls)
    elif orderly:
        conflict = (yield from _continue(owned, api, successor, held, deadline)) or conflict
        own.calls = restored_calls(held.entry, own.calls)
    else:
        conflict = (yield from take_over(owned, api, successor, held, deadline)) or conflict
    # Those of an entry that was made again say nothing about an earlier session.
    cuts = held.entry.cuts if previous.incarnation == own.incarnation else ()
    interrupted = interrupted_write(state, cuts, own.epoch, successor.journal.config)
    deleted = is_deleted(held.entry, cuts, own.epoch) if state.deleting else None
    if interrupted is not None:
        own.calls = _with_own_part(own.calls, earlier, interrupted)
    if not orderly:
        own.takeovers += 1
        log.info(
            "session.taken_over",
            key=state.key,
            previous=previous.owner_label,
            epoch=held.entry.epoch,
        )
    _install(api, state, successor)
    owned.complete(state, held)
    if conflict is not None:
        own.resolved = interrupted.applied if interrupted is not None else None
        raise conflict
    if interrupted is not None:
        return settle_interrupted(state, own, interrupted)
    return deleted


def _with_own_part(
    calls: CallRecords | None, earlier: CallRecords | None, interrupted: Interrupted
) -> CallRecords | None:
    """Return the records of calls, with that of the call which this process was interrupted in."""
    part = interrupted.write.part
    if part is None or earlier is None:
        return calls
    calls = calls or CallRecords()
    calls.keep(earlier, part, interrupted.applied)
    return calls


def _was_left_as_known(
    owned: OwnedSessions, state: SessionState, own: Ownership, previous: Entry
) -> bool:
    """Return whether no other process has owned it since this one did completely, and the entry is
    the one that this one wrote last, and knows: a write without an outcome may have changed it
    since, and this process may have been interrupted just after one."""
    here = (owned.directory.nonce, own.epoch, own.incarnation, own.revision, state.id or "")
    one = previous
    return (one.owner, one.epoch, one.incarnation, one.revision, one.id) == here


def _successor(state: SessionState, entry: Entry) -> SessionState:
    """Return a state for the session as it will be continued: nothing changes before that.

    One that is not open is opened with the options of this process: the entry may have those with
    which KATO refused to open it, or those of a session that was deleted.
    """
    source = entry if entry.id else state
    return SessionState(
        state.key,
        source.node_id,
        metadata=source.metadata,
        ttl=source.ttl,
        on_conflict=state.on_conflict,
        options=state.options,
        ownership=state.ownership,
        attached=entry.attached,
        attach_id="" if entry.id else state.attach_id,
        owns_node=state.owns_node and not entry.attached and source.node_id == state.key,
        nodes=state.nodes,
        interrupted=state.interrupted,
    )


def _continue(
    owned: OwnedSessions, api: KatoApi, successor: SessionState, held: Held, deadline: float
) -> Flow[SessionConflict | None]:
    """Flow: continue from the entry of an owner that has released the session.

    Return the conflict if KATO's state is not the one in which it was left.
    """
    entry, own = held.entry, successor.ownership
    assert own is not None
    successor.journal, own.lacks = restored(entry), False
    if entry.mark is not None and entry.mark.what == "learn":
        successor.doubtful_learn = doubtful_learn(entry.mark, successor.journal)
    if successor.journal.complete:
        return None
    try:
        found_now = yield from read_session(api, successor, deadline)
    except SessionGone:
        found_now = None
    if not (yield from owned.is_confirmed(held, deadline)):
        raise LeaseLost  # another process may have left that session of KATO's meanwhile
    if found_now is None:
        return differs(successor, 0, [])
    time, stm = found_now
    journal, own.lacks = found(entry, time, stm)
    cut = cut_of(entry, time, stm)
    if shows(cut, successor.journal) and entry.digest in ("", cut.digest):
        successor.journal = journal
        return None
    conflict = differs(successor, time, stm)
    successor.journal = journal
    return None if successor.on_conflict == "adopt" else conflict


def _install(api: KatoApi, state: SessionState, successor: SessionState) -> None:
    """Replace the state by the one of the continued session."""
    api.release_placement(state)
    for name in (
        "node_id",
        "metadata",
        "ttl",
        "owns_node",
        "attached",
        "attach_id",
        "doubtful_learn",
        "primary",
        "current",
    ):
        setattr(state, name, getattr(successor, name))
    if successor.instance is not None:
        state.instance = successor.instance
    state.failovers += successor.failovers
    state.unsaved, state.store_loses, state.deleting, state.avoid = None, False, False, ""
    state.pending = state.unknown = None
    state.journal = successor.journal
