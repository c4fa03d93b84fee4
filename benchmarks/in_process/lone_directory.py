"""A session directory that no other process uses: what remains is what an owner costs a call."""

from collections.abc import Callable

from kato_consul._directory.directory import Held, Stored, never
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease
from kato_consul._flow import Flow
from kato_consul._observable import Observable

ENDLESS = float("inf")


class LoneDirectory:
    """A `Directory` in memory. Its lease never ends, and nothing ever waits for a session."""

    name = "memory"
    nonce = "benchmark"

    def __init__(self) -> None:
        self.wanted: Observable[frozenset[str]] = Observable(frozenset())
        self._lease = Lease()
        self._lease.extend(ENDLESS)

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: acquire a session that nothing has owned before."""
        entry = Entry(key=key).acquired_by(self.nonce, self.name)
        return Held(entry, self._lease, token=None), None
        yield  # a flow is a generator

    def write(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: replace the entry."""
        held.entry = entry
        return
        yield

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: replace the entry."""
        return self.write(held, entry, deadline)

    def disown(self, key: str, deadline: float, is_known: Callable[[], bool] = never) -> Flow[None]:
        """Flow: do nothing."""
        return
        yield

    def confirm(self, deadline: float) -> Flow[bool]:
        """Flow: return True: the lease never ends."""
        return True
        yield

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """Flow: return None: entries are only with those that hold them."""
        return None
        yield

    def entries(self, deadline: float) -> Flow[list[Stored]]:
        """Flow: return none, as `entry`."""
        return []
        yield

    def eviction_policy(self, deadline: float) -> Flow[str]:
        """Flow: return "": it removes nothing."""
        return ""
        yield

    def background(self) -> list[tuple[Flow[None], str]]:
        """Return no flows: nothing changes by itself."""
        return []

    def leave(self, deadline: float) -> Flow[None]:
        """Flow: do nothing."""
        return
        yield
