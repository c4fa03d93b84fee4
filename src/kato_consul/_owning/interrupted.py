"""Interrupted writes: what became of a write that this process sent before it lost the session.

Such an owner has written nothing since. The first cut after it shows whether its last write is in
the session. If it is not there, it never will be: what is applied late reaches an id that is not
read any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kato_consul._directory.entry import MAX_CUTS, Cut, Entry
from kato_consul._kato.apply_write import log_settled
from kato_consul._kato.ownership import Ownership
from kato_consul._kato.pattern_store import PREFIX
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._owning.entry_state import shows
from kato_consul.errors import OutcomeUnknown

LATER_OWNER = "another process has taken the session over meanwhile"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A write without an answer. ``applied`` is None if no cut shows it any more. ``once_only``: it
    must not be sent again, since it may be applied to the node all the same."""

    write: Write[Any]
    applied: bool | None
    once_only: bool


def interrupted_write(
    state: SessionState, cuts: tuple[Cut, ...], epoch: int, config: Mapping[str, Any]
) -> Interrupted | None:
    """Return the pending write of a process that owned the session in ``epoch``, as ``cuts`` show
    it; None if there is none. ``config`` is the configuration with which the session continues."""
    pending = state.pending
    if pending is None:
        return None
    later = [cut for cut in cuts if cut.epoch > epoch]
    applied = None
    if later and (len(later) < len(cuts) or len(cuts) < MAX_CUTS):  # else the first may be gone
        applied = _is_shown(pending, state, later[0], config)
    return Interrupted(pending, applied, _is_once_only(state, pending))


def _is_shown(
    pending: Write[Any], state: SessionState, cut: Cut, config: Mapping[str, Any]
) -> bool:
    """Return whether the write is in the session, as the first later owner continued it."""
    before = state.journal
    if state.is_applied:
        return shows(cut, before)
    if pending.config is not None:
        return all(config.get(name) == value for name, value in pending.config.items())
    after = pending.apply(before)
    unchanged = (before.time, before.events) == (after.time, after.events)
    if unchanged and not pending.clears_only:
        return False  # it is not seen in a cut, and the next owner has opened another session
    return shows(cut, after)


def is_deleted(entry: Entry, cuts: tuple[Cut, ...], epoch: int) -> bool:
    """Return whether a deletion of a process that owned the session in ``epoch`` was applied."""
    later = [cut for cut in cuts if cut.epoch > epoch]
    return not entry.id or (bool(later) and (later[0].time, later[0].events) == (0, 0))


def settle_interrupted(
    state: SessionState, own: Ownership, interrupted: Interrupted
) -> bool | None:
    """Return whether the write was applied. If that is not known, ``own.unknown`` is its error."""
    write, applied = interrupted.write, interrupted.applied
    if applied is None or (not applied and interrupted.once_only):
        reason = LATER_OWNER if applied is None else f"{LATER_OWNER}, and it is not in the session"
        own.unknown = OutcomeUnknown(write.what, state.instance or "", reason)
        if write.pattern is not None:
            own.unknown.pattern = PREFIX + write.pattern.name
            state.note_interrupted(write.pattern)
        return None
    log_settled(state, write, applied=applied)
    return applied


def _is_once_only(state: SessionState, pending: Write[Any]) -> bool:
    if not state.is_applied:
        return pending.is_once_only(state.journal)
    # The journal has it already: whether KATO learned with it is not seen there any more.
    return pending.once_only or bool(pending.observations and state.journal.auto_learn.length)
