"""The store as one instance sees it: there, refusing connections, refusing writes, or silent.

Each call asks the switches first, so a store can be lost in the middle of a request.
"""

import asyncio
import time
from collections.abc import Callable

from kato_consul.testing.kato.knowledge import Knowledge
from kato_consul.testing.kato.memory import Session
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import SwitchFile

GLANCE = 0.02  # seconds between two looks at the switches while something hangs


class StoreError(Exception):
    """The store does not do what it is asked. Unhandled, it is a 500 in text/plain."""


class FaultyStore:
    """The shared store through the switches of one instance."""

    def __init__(self, store: Store, switches: SwitchFile) -> None:
        self._store = store
        self._knowledge = Knowledge(store)
        self._switches = switches

    async def read(self, session_id: str) -> Session | None:
        """Return the session whose key is alive."""
        await self._reach()
        return self._store.read(session_id)

    async def write(self, session: Session, ttl: float) -> None:
        """Save the session for `ttl` seconds."""
        await self._reach(writing=True)
        if ttl <= 0:
            raise StoreError("a key lives for more than 0 seconds")
        self._store.write(session, time.time() + ttl)

    async def touch(self, session_id: str, ttl: float) -> None:
        """Let the key live `ttl` seconds from now. A full store does that."""
        await self._reach()
        self._store.touch(session_id, time.time() + ttl)

    async def delete(self, session_id: str) -> bool:
        """Forget the session. A full store does that."""
        await self._reach()
        return self._store.delete(session_id)

    async def exists(self, session_id: str) -> bool:
        """Tell whether the key is alive."""
        await self._reach()
        return self._store.exists(session_id)

    async def count(self) -> int:
        """Return how many sessions there are."""
        await self._reach()
        return self._store.count()

    async def knowledge(self, *, writing: bool = False) -> Knowledge:
        """Return what was learned; say so when you are going to write."""
        await self._reach(writing=writing)
        return self._knowledge

    async def patterns(self) -> Knowledge:
        """Return what was learned, for reading patterns only: they are in another store, which is
        there when that of the sessions is down.
        """
        await self._reach(down=False)
        return self._knowledge

    async def _reach(self, *, writing: bool = False, down: bool = True) -> None:
        await until(lambda: self._switches.now().store != "hung")
        state = self._switches.now().store
        if state == "down" and down:
            raise StoreError("the store refuses connections")
        if writing and state == "full":
            raise StoreError("the store is full")


async def hang(switches: SwitchFile) -> None:
    """Wait until the instance hangs no more."""
    await until(lambda: not switches.now().hung)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    while not condition():  # noqa: ASYNC110  # the switches are a file: no event tells of a change
        await asyncio.sleep(GLANCE)
