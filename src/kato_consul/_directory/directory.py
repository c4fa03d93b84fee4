"""Directory: the interface of Consul's and Redis' session directories.

All methods that wait are flows. A request whose answer was lost is repeated until the deadline:
each of them has the same effect again.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease
from kato_consul._flow import Flow
from kato_consul._observable import Observable


class LeaseLost(Exception):  # it is no error: callers never see it
    """Another process has acquired the session, or may have.

    Whether what was sent is applied shows in the entry of a later owner. It is no
    `KatoConsulError`, so that nothing handles it as a call that failed.
    """


class Held:
    """A session that this process has acquired.

    ``entry`` is the entry as this process wrote it last. ``lease`` is the lease that it was
    acquired under: once that is lost, so is this. ``token`` belongs to the directory.
    ``acquired_at`` is on the lease's clock. ``wanted``: another process waits for the session.
    ``waited``: this process had to wait for it.
    ``dropped``: this process does not act under it any more, whether or not it was released.
    """

    __slots__ = (
        "__weakref__",
        "acquired_at",
        "dropped",
        "entry",
        "lease",
        "token",
        "waited",
        "wanted",
    )

    def __init__(
        self,
        entry: Entry,
        lease: Lease,
        token: object,
        *,
        wanted: bool = False,
        waited: bool = False,
    ) -> None:
        self.entry = entry
        self.lease = lease
        self.token = token
        self.acquired_at = lease.now()
        self.wanted = wanted
        self.waited = waited
        self.dropped = False

    def given_back(self, previous: Entry | None) -> Entry:
        """Return the entry to release it with if this process has not continued the session: the
        next owner has to do what this one had to, by the entry ``previous`` to the acquisition."""
        unchanged = previous is not None and self.entry.revision == previous.revision + 1
        return msgspec.structs.replace(
            self.entry,
            revision=self.entry.revision + 1,
            released=unchanged and previous is not None and previous.released,
        )


def never() -> bool:
    """Return False."""
    return False


class Stored(NamedTuple):
    """An entry as it was read. ``owned``: a process owned the session at that moment."""

    entry: Entry
    owned: bool


class Directory(Protocol):
    """The sessions of one service, for one client.

    ``name`` is what errors call it, without credentials. ``nonce`` is this owner's id. ``wanted``
    are the keys of sessions that this process owns and others wait for; it is notified of each.
    """

    name: str
    nonce: str
    wanted: Observable[frozenset[str]]

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: wait for the session in the order of arrival, and acquire it.

        Return it, and the entry as it was before: None if there was none. The lease is valid when
        this returns, with most of its time left. ``deadline`` is on `time.monotonic`'s clock.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
            SessionOwnedElsewhere: its owner did not release it before the deadline.
        """
        ...

    def write(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: replace the entry of a session that this process owns; set ``held.entry``.

        ``entry`` has the next revision of ``held.entry``, and otherwise the same owner and epoch.

        Raises:
            LeaseLost: it is another's, or no longer there.
            SessionDirectoryUnavailable: the directory did not answer before the deadline. The
                entry may be written all the same.
        """
        ...

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: write the entry and give up the session: the process that waits longest is next.

        The errors are those of `write`.
        """
        ...

    def disown(self, key: str, deadline: float, is_known: Callable[[], bool] = never) -> Flow[None]:
        """Flow: give up a session that this process may have acquired without knowing it, because
        the answer was lost or the call was cancelled. Its entry stays as it is: not released.

        Nothing is done if ``is_known`` returns True, which is asked after what is held was looked
        up: another thread may acquire the session meanwhile, and makes that known before.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        ...

    def confirm(self, deadline: float) -> Flow[bool]:
        """Flow: confirm this process' lease, and return whether it is still the same one.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        ...

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """Flow: read the entry of a key; None if there is none.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline, or the
                entry cannot be used.
        """
        ...

    def entries(self, deadline: float) -> Flow[list[Stored]]:
        """Flow: read all entries of the service, ordered by key. Those that cannot be used are left
        out, and logged.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        ...

    def eviction_policy(self, deadline: float) -> Flow[str]:
        """Flow: return by which policy the server removes entries when it is full; "" if it never
        does.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer before the deadline.
        """
        ...

    def background(self) -> list[tuple[Flow[None], str]]:
        """Return the flows that run as long as the client, each with its name: the heartbeat and
        confirmation of the lease, the messages of other processes, the removal of old entries."""
        ...

    def leave(self, deadline: float) -> Flow[None]:
        """Flow: end this process' lease: what it still owns is free for others at once or after
        the lease. Nothing is raised if the directory cannot be reached."""
        ...
