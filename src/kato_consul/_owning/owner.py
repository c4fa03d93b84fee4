"""Owner: owns the sessions of one client, under the lease of a session directory.

A write on a session that is owned costs three reads of a clock: when its call starts, before it is
sent, and when it is answered. Otherwise the session is acquired first, and continued from the last
owner's state (`continuing`). While other processes wait for it, it is handed over at the end of the
call in hand (`handover`).
"""

import copy
from contextlib import suppress
from typing import Any, TypeVar

from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import CallFlow, LeaseLost, Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._owning import handover
from kato_consul._owning.closing import closing, is_closed
from kato_consul._owning.continuing import continue_session
from kato_consul._owning.entry_state import expiry, has_more_than_symbols, mark_before
from kato_consul._owning.owned_sessions import OwnedSessions, held_of
from kato_consul.errors import (
    ClientClosed,
    KatoConsulError,
    OutcomeUnknown,
    SessionDirectoryUnavailable,
)

T = TypeVar("T")


class SessionOwner:
    """Owns the sessions of one client: the `Owner` that its calls know."""

    def __init__(self, owned: OwnedSessions) -> None:
        self._owned = owned

    def run(self, api: KatoApi, flow: CallFlow[T], state: SessionState, deadline: float) -> Flow[T]:
        """Flow: see `Owner`."""
        if state.refused is not None:  # the key may have another state by now, which owns it
            raise copy.copy(state.refused)
        own = state.ownership
        if own is None:
            own = state.ownership = Ownership()
        own.forget_earlier()
        held = own.held
        if held is not None and held.entry.id != (state.journal.session_id or ""):
            self._owned.lose(state)  # interrupted between a write of the entry and its own memory
        if not own.is_valid():
            with closing(sent=False):
                own.resolved = yield from self._own(api, state, own, deadline)
        while True:
            try:
                result = yield from flow(api, state, deadline)
            except LeaseLost:
                with closing(sent=state.pending is not None):
                    own.resolved = yield from self._own(api, state, own, deadline)
            except KatoConsulError as error:
                if not is_closed(error):  # no step of its flow is carried out any more
                    yield from self._after_call(api, state, own, deadline)
                raise
            else:
                try:  # noqa: SIM105  # `suppress` costs each call half a µs
                    yield from self._after_call(api, state, own, deadline)
                except ClientClosed:
                    pass  # the call has ended, whatever becomes of the session
                return result

    def _after_call(
        self, api: KatoApi, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[None]:
        held = own.held
        if held is None:
            return
        held.lease.used = True
        if state.reporting:  # it was made by a callback of the call in hand
            return
        due = held.wanted and own.used_at - held.acquired_at >= handover.SLICE
        # With less time left, it is done in the background.
        due = due and deadline - api.now() > handover.RELEASE_WITHIN
        if due or state.refused is not None:  # the client lets go of a key that was refused
            yield from handover.release(self._owned, api, state, deadline)
        elif own.used_at >= own.write_again_at:
            # The call has ended: if this fails, the next one acquires the session again.
            with suppress(LeaseLost, SessionDirectoryUnavailable):
                yield from self._owned.record(state, state.journal, deadline)

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
            with closing(sent=False):
                yield from self._require_confirmed(state, own, deadline)
        journal, calls = state.journal, own.calls
        changes: dict[str, Any] = {}
        if write.resets or write.is_once_only(journal):
            changes["mark"] = mark_before(write, state)
        lossy = any(map(has_more_than_symbols, write.observations))
        is_new = bool(changes) or (lossy and not held_of(state).entry.lossy)
        if is_new or (calls is not None and calls.unrecorded):
            if lossy:  # each entry is without, unless it is written for such an observation
                changes["lossy"] = True
            with closing(sent=False):
                yield from self._owned.record(state, journal, deadline, **changes)

    def after_answer(
        self, state: SessionState, write: Write[Any], after: Journal, deadline: float
    ) -> Flow[None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        try:
            # A takeover opens the session with the configuration, and counts from the counter.
            if write.config is not None or write.resets:
                if own.calls is not None and write.part is not None:
                    own.calls.applied(write.part)  # its entry does not differ from a cut after it
                yield from self._owned.record(state, after, deadline)
            elif write.keeps_for is not None:
                expires_at = expiry(state, write.keeps_for)
                yield from self._owned.record(state, after, deadline, expires_at=expires_at)
            elif not own.is_valid():
                yield from self._require_confirmed(state, own, deadline)
            if own.held is not None and _is_marked(own.held.entry, write):
                own.write_again_at = 0.0  # at the end of the call: see `_after_call`
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
            yield from self._owned.record(state, journal, deadline)
            return
        if own.acquired is None:
            raise LeaseLost
        yield from self._owned.record(state, journal, deadline, cuts=own.cuts, mark=own.mark)

    def resume(self, api: KatoApi, state: SessionState, deadline: float) -> Flow[bool | None]:
        """Flow: see `Owner`."""
        own = state.ownership
        assert own is not None
        return (yield from self._own(api, state, own, deadline))

    def removed(self, state: SessionState, deadline: float) -> Flow[None]:
        """Flow: see `Owner`."""
        yield from self._owned.record(state, Journal(state.journal.config), deadline)

    def _own(
        self, api: KatoApi, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[bool | None]:
        """Flow: own the session completely. Return whether ``state.pending`` was applied, None if
        this is still to be settled, or there is none."""
        held = own.holding
        if held is not None and not (yield from self._owned.is_confirmed(held, deadline)):
            self._owned.lose(state)
        while own.held is None:
            if own.acquired is None:
                own.acquired = yield from self._owned.acquire(state, deadline)
                own.waits += own.acquired[0].waited
            try:
                return (yield from continue_session(self._owned, api, state, own, deadline))
            except LeaseLost:
                self._owned.lose(state)
        return None

    def _require_confirmed(
        self, state: SessionState, own: Ownership, deadline: float
    ) -> Flow[None]:
        """Flow: return if the session is owned: its lease may still be confirmed.

        Raises:
            LeaseLost: it is not.
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        held = own.held
        if held is None or not (yield from self._owned.is_confirmed(held, deadline)):
            self._owned.lose(state)
            raise LeaseLost


def _is_marked(entry: Entry, write: Write[Any]) -> bool:
    """Return whether the entry has the memory as it was before ``write``, which has learned from
    it: if KATO loses the session, the next owner must not bring that back."""
    return entry.mark is not None and entry.mark.what == write.what
