"""Takeover: continues a session whose owner died or was stopped, from a **cut**.

A stopped owner may go on at any time, and what it sent may be applied late: no time bound holds. So
KATO's id of the session is the fencing token. The cut is one read of the counter and the memory; it
is replayed into another session, and one write of the entry makes that the session of the key. What
is applied late reaches an id that is not read any more.
"""

import msgspec

from kato_consul._directory.directory import Held
from kato_consul._directory.entry import Cut, Mark
from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.reconcile import lock_barrier
from kato_consul._kato.replacement import read_session, replace_session
from kato_consul._kato.session_state import DoubtfulLearn, SessionState
from kato_consul._kato.types import Event
from kato_consul._owning.entry_state import (
    cut_of,
    doubtful_learn,
    found,
    is_expired,
    restored,
    restored_calls,
    with_cut,
)
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.refusals import differs
from kato_consul.errors import SessionConflict, SessionGone


def take_over(
    owned: OwnedSessions, api: KatoApi, successor: SessionState, held: Held, deadline: float
) -> Flow[SessionConflict | None]:
    """Flow: continue from a cut, in another session of KATO's.

    Return the conflict if KATO has lost something that an owner had recorded.
    """
    entry, own = held.entry, successor.ownership
    assert own is not None
    successor.journal = restored(entry)
    conflict = None
    reason = "gone"
    try:
        time, stm = yield from _read_cut(api, successor, entry.mark, deadline)
    except SessionGone:
        cut, lossy = Cut(entry.epoch, entry.time, entry.events, entry.digest), entry.lossy
        # What its owner observed since is not known, or was deleted with it: it begins again.
        if is_expired(entry) or entry.deleting:
            cut = cut_of(entry, 0, [])
            successor.journal, lossy = found(entry, 0, [])
        else:
            conflict = differs(successor, 0, [])
            if not successor.journal.complete:
                successor.journal, lossy = found(entry, 0, [])
    else:
        reason = "taken over"
        cut = cut_of(entry, time, stm)
        if time < entry.time and not entry.sets_back:
            conflict = differs(successor, time, stm)
        successor.journal, lossy = found(entry, time, stm)
    own.calls = restored_calls(entry, own.calls, cut)
    own.cuts = with_cut(entry, cut)
    own.mark, successor.doubtful_learn = _kept(entry.mark, successor.journal)
    own.lossy, own.lacks = own.lossy or lossy, False
    if successor.on_conflict == "adopt":  # other writers are expected in it: it is not left
        assert api.owner is not None
        yield from api.owner.switch(successor, successor.journal, deadline)
    else:
        journal = successor.journal
        yield from replace_session(api, successor, journal, deadline, reason=reason)
    return None if successor.on_conflict == "adopt" else conflict


def _read_cut(
    api: KatoApi, successor: SessionState, mark: Mark | None, deadline: float
) -> Flow[tuple[int, list[Event]]]:
    """Flow: read the counter and the memory. If a marked write is not seen in them, its instance is
    given the time to end it."""
    api.place_session(successor)
    time, stm = yield from read_session(api, successor, deadline)
    if mark is not None and mark.instance and (time, len(stm)) == (mark.time, mark.events):
        request = lock_barrier(successor, api.attempt_timeout)
        yield from api.failover.attempt(request, mark.instance, deadline, listed=False)
        time, stm = yield from read_session(api, successor, deadline)
    return time, stm


def _kept(mark: Mark | None, journal: Journal) -> tuple[Mark | None, DoubtfulLearn | None]:
    """Return the mark for the entry of the continued session, and the learn that may still be
    applied to the node: if the memory is the one that it would learn."""
    if mark is None or mark.sets_back:
        return None, None
    if not journal.events or (journal.time, journal.events) != (mark.time, mark.events):
        return None, None
    kept = msgspec.structs.replace(
        mark, time=len(journal), events=journal.events, instance="", position=None
    )
    return kept, doubtful_learn(mark, journal)
