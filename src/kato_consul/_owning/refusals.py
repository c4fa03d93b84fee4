"""Refusals: why a session cannot be continued as this process expects it."""

from kato_consul._directory.entry import Entry
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul.errors import ConfigurationError, SessionConflict


def other_options(state: SessionState, entry: Entry) -> ConfigurationError | None:
    """Return the error for a session that this process asks for with another node, or attached to
    another session of KATO's."""
    node_id, attach = state.options.node_id, state.options.attach
    if not entry.id:
        return None
    if node_id is not None and node_id != entry.node_id:
        used, asked = f"with node_id={entry.node_id!r}", f"with node_id={node_id!r}"
    elif attach is not None and attach not in (entry.id, entry.first_id, *entry.aliases):
        used, asked = f"as KATO's session {entry.id}", f"with attach={attach!r}"
    else:
        return None
    return ConfigurationError(
        f"session {state.key!r} was opened by another process {used}, and is asked for {asked} "
        f"here. Use the same value, none, or another key"
    )


def two_sessions(state: SessionState, entry: Entry) -> SessionConflict:
    """Return the error for a session whose entry was lost, and made again by another process."""
    conflict = SessionConflict(
        state.key,
        state.id or "",
        expected=state.journal.time,
        found=entry.time,
        expected_stm=state.journal.stm,
        found_stm=[],
    )
    text = (
        f"session {state.key!r}: the session directory has lost its entry, and another process has "
        f"opened {entry.id} for the same key. It continues there, without the "
        f"{len(conflict.expected_stm)} events that this process left in {state.id}."
    )
    conflict.args = (text,)
    return conflict


def differs(successor: SessionState, time: int, stm: list[Event]) -> SessionConflict:
    """Return the error for a session that KATO does not have as the last owner left it."""
    journal = successor.journal
    return SessionConflict(
        successor.key,
        successor.id or "",
        expected=journal.time,
        found=time,
        expected_stm=journal.stm,
        found_stm=stm,
    )
