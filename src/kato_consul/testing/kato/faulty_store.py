"""Faulty store: one instance's view of the shared store, with faults injected by switches.

It can be up, refuse connections, refuse writes, or not respond. Each call reads the switches
first, so a store can fail in the middle of a request.
"""

import asyncio
import time
from collections.abc import Callable

from kato_consul.testing.kato.knowledge import Knowledge
from kato_consul.testing.kato.memory import StoredSession
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import SwitchFile

POLL = 0.02  # seconds between two reads of the switches while something hangs


class StoreError(Exception):
    """The store failed. Unhandled, it becomes a 500 in text/plain."""


class FaultyStore:
    """The shared store, with the switches of one instance applied."""

    def __init__(self, store: Store, switches: SwitchFile) -> None:
        self._store = store
        self._knowledge = Knowledge(store)
        self._switches = switches

    async def read(self, session_id: str) -> StoredSession | None:
        """Return the session, or None if its key has expired."""
        await self._check_switches()
        return self._store.read(session_id)

    async def write(self, session: StoredSession, ttl: float) -> None:
        """Save the session for `ttl` seconds."""
        await self._check_switches(writing=True)
        if ttl <= 0:
            raise StoreError("a key's TTL must be more than 0 seconds")
        self._store.write(session, time.time() + ttl)

    async def touch(self, session_id: str, ttl: float) -> None:
        """Set the key's expiry to `ttl` seconds from now. Works in a full store."""
        await self._check_switches()
        self._store.touch(session_id, time.time() + ttl)

    async def delete(self, session_id: str) -> bool:
        """Delete the session; return whether it existed. Works in a full store."""
        await self._check_switches()
        return self._store.delete(session_id)

    async def exists(self, session_id: str) -> bool:
        """Return whether the key exists and has not expired."""
        await self._check_switches()
        return self._store.exists(session_id)

    async def count(self) -> int:
        """Return the number of sessions."""
        await self._check_switches()
        return self._store.count()

    async def knowledge(self, *, writing: bool = False) -> Knowledge:
        """Return the learned patterns; `writing` if they are going to be changed."""
        await self._check_switches(writing=writing)
        return self._knowledge

    async def patterns(self) -> Knowledge:
        """Return the learned patterns for reading. In KATO they are in another store, which works
        while that of the sessions is down.
        """
        await self._check_switches(down=False)
        return self._knowledge

    async def _check_switches(self, *, writing: bool = False, down: bool = True) -> None:
        await until(lambda: self._switches.now().store != "hung")
        state = self._switches.now().store
        if state == "down" and down:
            raise StoreError("the store refuses connections")
        if writing and state == "full":
            raise StoreError("the store is full")


async def hang(switches: SwitchFile) -> None:
    """Wait until the instance no longer hangs."""
    await until(lambda: not switches.now().hung)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    while not condition():  # noqa: ASYNC110  # the switches are a file, which has no event
        await asyncio.sleep(POLL)
