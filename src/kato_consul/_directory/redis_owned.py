"""What this process has acquired in Redis, and what it waits for."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul._directory.directory import Held
from kato_consul._observable import Observable


class Acquisition:
    """One call of `acquire`, and what came of it. ``id`` begins with the owner's nonce.

    ``messages`` counts the messages about it, ``writes`` numbers the writes under it. ``waited``:
    it was in the queue. ``wanted``: others wait for the session.
    """

    __slots__ = ("id", "key", "messages", "waited", "wanted", "writes")

    def __init__(self, id: str, key: str) -> None:  # noqa: A002  # it is one
        self.id = id
        self.key = key
        self.messages = Observable(0)
        self.writes = itertools.count(1)
        self.waited = self.wanted = False


class Owned:
    """The acquisitions of one process. Threads may share it: each operation on a dict is atomic.

    ``abandoned`` are those that ended without their caller being told: deadline, cancellation.
    Redis may have them as owner or in a queue. ``abandonment`` changes with each.
    """

    def __init__(self) -> None:
        self.wanted: Observable[frozenset[str]] = Observable(frozenset())
        self.abandoned: dict[str, Acquisition] = {}
        self.abandonment = Observable(object())
        self._lock = threading.Lock()  # of `wanted`
        self._waiting: dict[str, Acquisition] = {}
        self._held: dict[str, tuple[Acquisition, Held]] = {}

    @contextmanager
    def waiting(self, acquisition: Acquisition) -> Iterator[None]:
        """Let the acquisition get messages while the block runs. If it is not held at the end, it
        is abandoned."""
        self._waiting[acquisition.id] = acquisition
        try:
            yield
        finally:
            del self._waiting[acquisition.id]
            if not self._holds(acquisition):
                self._abandon(acquisition)

    def add(self, acquisition: Acquisition, held: Held) -> None:
        """Record that a session is held."""
        self._held[acquisition.key] = acquisition, held
        if held.wanted or acquisition.wanted:
            self._want(held, acquisition.key)
        else:
            self._want_no_longer(acquisition.key)

    def discard(self, held: Held) -> None:
        """Record that a session is not held any more."""
        for key, (_, other) in tuple(self._held.items()):
            if other is held:
                self._held.pop(key, None)
                self._want_no_longer(key)

    def discard_lost(self) -> None:
        """Discard the sessions of leases that were lost."""
        for _, held in tuple(self._held.values()):
            if held.lease.lost:
                self.discard(held)

    def find(self, key: str) -> tuple[Acquisition, Held] | None:
        """Return the session if it is held, with its acquisition."""
        return self._held.get(key)

    def held(self) -> list[Acquisition]:
        """Return the acquisitions of the sessions that are held."""
        return [acquisition for acquisition, _ in tuple(self._held.values())]

    def take(self, message: bytes) -> None:
        """Take a message of another process: ``w<id> <key>`` or ``f<id> <key>``."""
        identity, _, key = message.decode().partition(" ")
        kind, identity = identity[:1], identity[1:]
        waiting = self._waiting.get(identity)
        acquisition, held = self._held.get(key, (None, None))
        if held is not None and acquisition is not None and acquisition.id == identity:
            if kind == "w":
                self._want(held, key)
        elif waiting is not None:
            if kind == "w":
                waiting.wanted = True  # its answer is on the way
            waiting.messages.set(waiting.messages.current + 1)
        else:  # a late copy of a command
            self._abandon(Acquisition(identity, key))

    def _abandon(self, acquisition: Acquisition) -> None:
        self.abandoned[acquisition.id] = acquisition
        self.abandonment.set(object())

    def _holds(self, acquisition: Acquisition) -> bool:
        found = self._held.get(acquisition.key)
        return found is not None and found[0] is acquisition

    def _want(self, held: Held, key: str) -> None:
        held.wanted = True
        with self._lock:
            if key not in self.wanted.current:
                self.wanted.set(self.wanted.current | {key})

    def _want_no_longer(self, key: str) -> None:
        with self._lock:
            if key in self.wanted.current:
                self.wanted.set(self.wanted.current - {key})
