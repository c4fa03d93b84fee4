"""Owned sessions of one client: acquired, recorded in their entries, and lost."""

from typing import Any

from kato_consul._directory.directory import Directory, Held
from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.ownership import LeaseLost, Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul._owning.entry_state import expires_in, next_entry, write_again_in


class OwnedSessions:
    """The sessions that one client owns, under the lease of its session directory.

    ``keeps_observations``: entries may hold them. ``states`` are the sessions that this process has
    acquired, or is acquiring, by key.
    """

    def __init__(self, directory: Directory, *, keeps_observations: bool) -> None:
        self.directory = directory
        self.states: dict[str, SessionState] = {}
        self._keeps_observations = keeps_observations

    def acquire(self, state: SessionState, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: acquire the session. It is known from before that: otherwise the hand-over, in
        another thread, would take it for one that was acquired without its call being told."""
        self.states[state.key] = state
        try:
            return (yield from self.directory.acquire(state.key, deadline))
        except BaseException:
            self._forget(state)
            raise

    def is_confirmed(self, held: Held, deadline: float) -> Flow[bool]:
        """Flow: return whether the lease is valid; if it has ended, it may still be confirmed."""
        lease = held.lease
        if lease.is_valid():
            return True
        if lease.lost or not (yield from self.directory.confirm(deadline)):
            return False
        return held.lease.is_valid()

    def record(
        self, state: SessionState, journal: Journal, deadline: float, **changes: Any
    ) -> Flow[None]:
        """Flow: write the session's entry, as ``journal`` and with ``changes``.

        Raises:
            LeaseLost, SessionDirectoryUnavailable: see `Directory.write`.
        """
        own, held = state.ownership, held_of(state)
        assert own is not None
        entry = self.entry_after(held.entry, state, journal, **changes)
        try:
            yield from self.directory.write(held, entry, deadline)
        except BaseException:
            # Also if its outcome is not known: only the next acquisition shows what is there.
            self.lose(state)
            raise
        self.written(own, held, entry)
        if own.calls is not None:
            own.calls.is_recorded()

    def entry_after(
        self, last: Entry, state: SessionState, journal: Journal, **changes: Any
    ) -> Entry:
        """Return the entry to write after ``last``: see `next_entry`."""
        return next_entry(
            last, state, journal, with_observations=self._keeps_observations, **changes
        )

    def complete(self, state: SessionState, held: Held) -> None:
        """Record that this process owns the session completely: its state is the last owner's."""
        own = state.ownership
        assert own is not None
        own.epoch, own.incarnation = held.entry.epoch, held.entry.incarnation
        self.written(own, held, held.entry)
        own.held, own.acquired, own.released = held, None, False
        own.cuts, own.mark = (), None

    def written(self, own: Ownership, held: Held, entry: Entry) -> None:
        """Record the entry as this process knows it to be."""
        now = held.lease.now()
        own.revision = entry.revision
        own.write_again_at = now + write_again_in(entry)
        own.expires_at = now + expires_in(entry)

    def lose(self, state: SessionState) -> None:
        """Record that the session is not owned any more."""
        own = state.ownership
        assert own is not None
        held = own.holding
        if held is not None:  # a traceback may refer to it for long
            held.dropped = True
        own.held = own.acquired = None
        self._forget(state)

    def _forget(self, state: SessionState) -> None:
        # The key may have another state by now: KATO has refused to open the session with the
        # options of this one.
        if self.states.get(state.key) is state:
            del self.states[state.key]


def held_of(state: SessionState) -> Held:
    """Return the session as it is held.

    Raises:
        LeaseLost: it is not.
    """
    own = state.ownership
    assert own is not None
    if own.holding is None:
        raise LeaseLost
    return own.holding
