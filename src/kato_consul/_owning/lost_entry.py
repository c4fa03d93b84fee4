"""Lost entry: continues a session that this process owned before, and whose entry is gone.

If the entry has expired, so has KATO's session. Then the memory of this process is outdated: others
may have learned or cleared it since, and it must not be there again. Otherwise the directory has
lost the entry. Then this process goes on with its own memory, unless it has given the session up:
another process may have continued it, and KATO's memory is the newest.
"""

from kato_consul._directory.directory import Held
from kato_consul._flow import Flow
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.replacement import read_session
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._owning.interrupted import interrupted_write, settle_interrupted
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.refusals import differs
from kato_consul.errors import SessionConflict, SessionGone

log = logger("session")


def continue_without_entry(
    owned: OwnedSessions, api: KatoApi, state: SessionState, held: Held, deadline: float
) -> Flow[bool | None]:
    """Flow: own a session completely whose entry is gone. The rest is as for `continue_session`."""
    own = state.ownership
    assert own is not None
    conflict, interrupted = None, None
    if held.lease.now() >= own.expires_at:
        interrupted = interrupted_write(state, (), own.epoch, {})
        _forget(api, state, own)
    else:
        log.warning("session.entry_lost", key=state.key, id=state.id)
        if own.released and state.id is not None and state.pending is None:
            conflict = yield from _read_again(api, state, own, deadline)
    yield from owned.record(state, state.journal, deadline)
    owned.complete(state, held)
    if conflict is not None:
        raise conflict
    return None if interrupted is None else settle_interrupted(state, own, interrupted)


def _read_again(
    api: KatoApi, state: SessionState, own: Ownership, deadline: float
) -> Flow[SessionConflict | None]:
    """Flow: continue from KATO's memory. Return the conflict if the session is gone: another one
    may have taken its place."""
    try:
        time, stm = yield from read_session(api, state, deadline)
    except SessionGone:
        conflict = differs(state, 0, [])
        _forget(api, state, own)
        return conflict
    if not state.journal.matches(time, stm):
        state.adopt(time, stm)
    return None


def _forget(api: KatoApi, state: SessionState, own: Ownership) -> None:
    """Forget the session: the next call opens another one, with the same options."""
    api.release_placement(state)
    state.close()
    own.calls = None
