"""Ownership: what the flows of a session need while several processes share it.

Without a session directory there is no `Owner`, and nothing here is used. With one, a process owns
a session under a lease: it sends and acknowledges only while that is valid. If it was lost
meanwhile, `LeaseLost` ends what is in progress, and `Owner.resume` acquires the session again and
determines from what a later owner found whether the pending write was applied.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kato_consul._directory.directory import Held
from kato_consul._directory.directory import LeaseLost as LeaseLost
from kato_consul._directory.entry import Cut, Entry, Mark
from kato_consul._flow import Flow
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.journal import Journal
from kato_consul.errors import KatoConsulError, OutcomeUnknown, SessionConflict

if TYPE_CHECKING:
    from kato_consul._kato.kato_api import KatoApi
    from kato_consul._kato.session_state import SessionState
    from kato_consul._kato.write import Write

T = TypeVar("T")

CallFlow = Callable[["KatoApi", "SessionState", float], Flow[T]]
"""A call on a session: a flow of the API, the session's state and the deadline."""


@dataclass(slots=True)
class Ownership:
    """What this process knows of its ownership of one session.

    ``held`` is the session while this process owns it *completely*: its state is that of the last
    owner, or was restored from it. ``acquired`` is a session that it has acquired, and the entry as
    it was before, until it owns it completely. ``epoch`` is the last epoch in which it did, 0 if it
    never did, and ``incarnation`` that of the entry then. ``revision`` is that of the entry as this
    process wrote it last, and knows it. ``released``: it has given the session up since, so another
    process may have continued it. ``cuts`` and ``mark`` are those to be recorded at the end
    of a takeover.

    ``resolved`` is whether the pending write of an earlier call was applied, if the start of this
    call has shown it; ``unknown`` is its error, if this has shown that it will never be known.
    ``used_at`` is when a call needed it last, ``write_again_at`` when its entry has to be written
    again, and ``expires_at`` when that ends otherwise; they are on the lease's clock.

    ``takeovers`` counts acquisitions from an owner that had not released the session, ``waits``
    those for which this process had to wait for another owner. ``lossy``: a takeover restored
    observations without their emotives or metadata. ``lacks``: the memory that was handed over to
    this process may have some that its journal lacks, until it is emptied. ``calls`` are those with
    an idempotency key or a position; None if there were none. They are kept without a session
    directory, too.
    """

    held: Held | None = None
    acquired: tuple[Held, Entry | None] | None = None
    epoch: int = 0
    incarnation: str = ""
    revision: int = 0
    released: bool = False
    cuts: tuple[Cut, ...] = ()
    mark: Mark | None = None
    resolved: bool | None = None
    unknown: OutcomeUnknown | None = None
    used_at: float = 0.0
    write_again_at: float = 0.0
    expires_at: float = 0.0
    takeovers: int = 0
    waits: int = 0
    lossy: bool = False
    lacks: bool = False
    calls: CallRecords | None = None

    @property
    def holding(self) -> Held | None:
        """The session if this process has acquired it, whether it owns it completely or not yet."""
        held, acquired = self.held, self.acquired  # read once: another thread may change them
        return held or (acquired[0] if acquired else None)

    def forget_earlier(self) -> None:
        """Forget what was shown about the write of an earlier call."""
        self.resolved = self.unknown = None

    def is_valid(self) -> bool:
        """Return whether the session is owned completely at this moment, which is noted as
        ``used_at``."""
        held = self.held
        if held is None:
            return False
        self.used_at = now = held.lease.now()
        return now < held.lease.end


class Owner(Protocol):
    """Owns the sessions of one client. All methods are flows."""

    def before_write(
        self, state: "SessionState", write: "Write[Any]", deadline: float
    ) -> Flow[None]:
        """Flow: called before each attempt of a write, with the journal that it will change.

        Raises:
            LeaseLost: the session is not owned any more.
            SessionDirectoryUnavailable: what has to be recorded before it could not be.
        """
        ...

    def after_answer(
        self, state: "SessionState", write: "Write[Any]", after: Journal, deadline: float
    ) -> Flow[None]:
        """Flow: return if ``write``, which KATO has answered, may be acknowledged.

        ``after`` is the journal with it.

        Raises:
            LeaseLost: another process may have acquired the session before the answer.
            OutcomeUnknown: the directory did not answer before the deadline.
        """
        ...

    def after_read(self, state: "SessionState", deadline: float) -> Flow[None]:
        """Flow: return if the response to a read, just received, is the session's state.

        Raises:
            LeaseLost: another process may have acquired the session before it.
        """
        ...

    def switch(self, state: "SessionState", journal: Journal, deadline: float) -> Flow[None]:
        """Flow: record that the session continues as ``journal``, in its ``session_id``.

        Called before it does.

        Raises:
            LeaseLost: another process has acquired the session: the new id must not be used.
            SessionDirectoryUnavailable: it could not be recorded.
        """
        ...

    def run(
        self, api: "KatoApi", flow: "CallFlow[T]", state: "SessionState", deadline: float
    ) -> Flow[T]:
        """Flow: run a call on a session that this process owns, acquired first if necessary. A
        ``flow`` that ends with `LeaseLost` is run again.

        Raises:
            RequestNotSent: the session could not be acquired before the deadline.
            SessionConflict: see `resume`.
        """
        ...

    def resume(self, api: "KatoApi", state: "SessionState", deadline: float) -> Flow[bool | None]:
        """Flow: own the session again, after `LeaseLost`.

        Return whether ``state.pending`` was applied, as the entry of a later owner shows, and
        settle it. None: there is none, it is still to be settled by reading KATO, or it is not
        known any more whether it was applied: then there is an error in `Ownership.unknown`.

        Raises:
            SessionConflict: the directory has lost the entry, and another process has opened
                another session.
            RequestNotSent: the session could not be acquired before the deadline.
        """
        ...

    def removed(self, state: "SessionState", deadline: float) -> Flow[None]:
        """Flow: record that KATO's session was deleted. The entry stays for a while: otherwise an
        earlier owner would take it for lost, and restore the session.

        Raises:
            LeaseLost: another process may have continued it meanwhile, in another KATO session.
            SessionDirectoryUnavailable: it could not be recorded.
        """
        ...


def resume(
    api: "KatoApi", state: "SessionState", deadline: float, write: "Write[Any]"
) -> Flow[bool]:
    """Flow: own the session again, after `LeaseLost` ended an attempt of ``write``. Return whether
    a later owner has found it in the session.

    Raises:
        OutcomeUnknown: it was sent, and the session could not be owned again before the deadline,
            or it may be applied, and this cannot be determined any more.
        SessionConflict: see `Owner.resume`.
        KatoConsulError: it was not sent, nor can it be.
    """
    assert api.owner is not None
    if state.pending is not write:
        yield from api.owner.resume(api, state, deadline)
        return False
    own = state.ownership
    assert own is not None
    own.forget_earlier()
    try:
        applied = yield from api.owner.resume(api, state, deadline)
    except SessionConflict as conflict:
        conflict.call_applied = own.resolved or None
        raise
    except KatoConsulError as error:
        raise lost_before_answer(write, state).because(error) from error
    if own.unknown is not None:
        raise own.unknown
    return bool(applied)


def lost_before_answer(write: "Write[Any]", state: "SessionState") -> OutcomeUnknown:
    """Return the error of a write that was sent under a lease that was lost before its answer."""
    reason = "this process lost the session before the answer"
    return OutcomeUnknown(write.what, state.instance or "", reason)
