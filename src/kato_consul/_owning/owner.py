"""Owner: owns the sessions of one client, under the lease of a session directory.

A write on a session that is owned costs three reads of a clock: when its call starts, before it is
sent, and when it is answered. Otherwise the session is acquired first, and continued from the last
owner's state (`takeover`). While other processes wait for it, it is handed over at the end of the
call in hand (`handover`).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kato_consul._directory.directory import Directory, Held
from kato_consul._directory.entry import Entry, LogPosition, Mark
from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import CallFlow, LeaseLost, Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._owning import handover
from kato_consul._owning.entry_state import has_more_than_symbols, next_entry, write_again_in
from kato_consul._owning.takeover import continue_session
from kato_consul.errors import (
    ClientClosed,
    KatoConsulError,
    OutcomeUnknown,
    SessionDirectoryUnavailable,
)

T = TypeVar("T")


class SessionOwner:
    """Owns the sessions of one client.

    ``keeps_observations``: entries may hold them. ``states`` are the sessions that this process has
    acquired, by key.
    """

    def __init__(self, directory: Directory, *, keeps_observations: bool) -> None:
        self.directory = directory
        self.states: dict[str, SessionState] = {}
        self._keeps_observations = keeps_observations

    def run(self, api: KatoApi, flow: CallFlow[T], state: SessionState, deadline: float) -> Flow[T]:
        """Flow: see `Owner`."""
        own = state.ownership
        if own is None:
            own = state.ownership = Ownership()
        own.resolved = own.unknown = None
        held = own.held
        if held is None or not own.is_valid() or held.entry.id != (state.journal.session_id or ""):
            if held is not None and held.entry.id != (state.journal.session_id or ""):
                self.lose(state)  # interrupted between the write of the entry and its own memory
            with _closing(sent=False):
                own.resolved = yield from self._own(api, state, own, deadline)
        while True:
            try:
                result = yield from flow(api, state, deadline)
            except LeaseLost:
                with _closing(sent=state.pending is not None):
                    own.resolved = yield from self._own(api, state, own, deadline)
            except KatoConsulError:
                yield from self._after_call(api, state, own, deadline)
                raise
            else:
                yield from self._after_call(api, state, own, deadline)
                return result

    def _after_call(
        self, api: KatoApi, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[None]:
        held = own.held
        if held is None:
            return
        held.lease.used = True
        due = held.wanted and own.used_at - held.acquired_at >= handover.SLICE
        # With less time left, it is done in the background.
        if due and deadline - api.now() > handover.RELEASE_WITHIN:
            yield from handover.release(self, api, state, deadline)
        elif own.used_at >= own.write_again_at:
            # The call has ended: if this fails, the next one acquires the session again.
            with suppress(LeaseLost, SessionDirectoryUnavailable):
                yield from self.record(state, state.journal, deadline)

    def before_write(self, state: SessionState, write: Write[Any], deadline: float) -> Flow[None]:
        """Flow: see `Owner`.

        Recorded are writes that are never sent twice, and those that set the counter back: a
        takeover could not tell otherwise whether KATO has lost something. So are calls with an
        idempotency key, and where the observations come from if that changes. And once for each
        entry, that an observation has what a takeover cannot restore.
        """
        own = state.ownership
        assert own is not None
        if not own.is_valid():
            with _closing(sent=False):
                yield from self._require_confirmed(state, own, deadline)
        journal, calls = state.journal, own.calls
        changes: dict[str, Any] = {}
        if write.resets or write.is_once_only(journal):
            changes["mark"] = _mark(write, state)
        if any(map(has_more_than_symbols, write.observations)) and not _held(state).entry.lossy:
            changes["lossy"] = True
        if changes or (calls is not None and calls.unrecorded):
            with _closing(sent=False):
                yield from self.record(state, journal, deadline, **changes)

    def after_answer(
        self, state: SessionState, write: Write[Any], after: Journal, deadline: float
    ) -> Flow[None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        try:
            # A takeover opens the session with the configuration, and counts from the counter.
            if write.config is not None or write.resets:
                yield from self.record(state, after, deadline)
            elif not own.is_valid():
                yield from self._require_confirmed(state, own, deadline)
        except (SessionDirectoryUnavailable, ClientClosed) as error:
            unknown = OutcomeUnknown(
                write.what,
                state.instance or "",
                "it was answered, and whether this process still owned the session is not known",
                answered=True,
            )
            raise unknown.because(error) from error

    def after_read(self, state: SessionState, deadline: float) -> Flow[None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        if not own.is_valid():
            yield from self._require_confirmed(state, own, deadline)

    def switch(self, state: SessionState, journal: Journal, deadline: float) -> Flow[None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        if own.held is not None:
            yield from self.record(state, journal, deadline)
            return
        if own.acquired is None:
            raise LeaseLost
        yield from self.record(state, journal, deadline, cuts=own.cuts, mark=own.mark)

    def resume(self, api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        return (yield from self._own(api, state, own, deadline))

    def removed(self, state: SessionState, deadline: float) -> Flow[None]:
        """Flow: see `Owner`."""
        # If another process has acquired it meanwhile, that finds KATO's session gone.
        with suppress(LeaseLost):
            yield from self.record(state, Journal(state.journal.config), deadline)

    def record(
        self, state: SessionState, journal: Journal, deadline: float, **changes: Any
    ) -> Flow[None]:
        """Flow: write the session's entry, as ``journal`` and with ``changes``.

        Raises:
            LeaseLost, SessionDirectoryUnavailable: see `Directory.write`.
        """
        own, held = state.ownership, _held(state)
        assert own is not None
        entry = self.entry_after(held.entry, state, journal, **changes)
        try:
            yield from self.directory.write(held, entry, deadline)
        except BaseException:
            # Also if its outcome is not known: only the next acquisition shows what is there.
            self.lose(state)
            raise
        own.revision = entry.revision
        own.write_again_at = held.lease.now() + write_again_in(entry)
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
        own.revision = held.entry.revision
        own.write_again_at = held.lease.now() + write_again_in(held.entry)
        own.held, own.acquired = held, None
        own.cuts, own.mark = (), None

    def lose(self, state: SessionState) -> None:
        """Record that the session is not owned any more."""
        own = state.ownership
        assert own is not None
        held = own.holding
        if held is not None:  # a traceback may refer to it for long
            held.dropped = True
        own.held = own.acquired = None
        self.states.pop(state.key, None)

    def _own(
        self, api: KatoApi, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[bool | None]:
        """Flow: own the session completely. Return whether ``state.pending`` was applied, None if
        this is still to be settled, or there is none."""
        held = own.holding
        if held is not None and not (yield from self.is_confirmed(held, deadline)):
            self.lose(state)
        while own.held is None:
            if own.acquired is None:
                own.acquired = yield from self.directory.acquire(state.key, deadline)
                self.states[state.key] = state
                own.waits += own.acquired[0].waited
            try:
                return (yield from continue_session(self, api, state, own, deadline))
            except LeaseLost:
                self.lose(state)
        return None

    def is_confirmed(self, held: Held, deadline: float) -> Flow[bool]:
        """Flow: return whether the lease is valid; if it has ended, it may still be confirmed."""
        lease = held.lease
        if lease.is_valid():
            return True
        if lease.lost or not (yield from self.directory.confirm(deadline)):
            return False
        return held.lease.is_valid()

    def _require_confirmed(
        self, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[None]:
        """Flow: return if the session is owned: its lease may still be confirmed.

        Raises:
            LeaseLost: it is not.
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        held = own.held
        if held is None or not (yield from self.is_confirmed(held, deadline)):
            self.lose(state)
            raise LeaseLost


@contextmanager
def _closing(*, sent: bool) -> Iterator[None]:
    """Let a `ClientClosed` of the block say whether the call was sent to KATO. The request in hand
    was one to the directory."""
    try:
        yield
    except ClientClosed as closed:
        closed.sent = sent
        raise


def _held(state: SessionState) -> Held:
    """Return the session as it is held.

    Raises:
        LeaseLost: it is not.
    """
    own = state.ownership
    assert own is not None
    if own.holding is None:
        raise LeaseLost
    return own.holding


def _mark(write: Write[Any], state: SessionState) -> Mark:
    """Return the mark of a write that is never sent twice."""
    pattern = write.pattern
    journal = state.journal
    return Mark(
        what=write.what,
        time=journal.time,
        events=journal.events,
        instance=state.current or state.instance or "",
        pattern=pattern.name if pattern is not None else "",
        frequency=pattern.frequency if pattern is not None else None,
        position=_position(write),
    )


def _position(write: Write[Any]) -> LogPosition | None:
    """Return the message that a write is sent for, unless it may be sent again."""
    position = write.part.position if write.part is not None else None
    if position is None or write.clears_only:
        return None
    return LogPosition(position.log, position.partition, position.offset)
