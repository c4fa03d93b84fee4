"""The sessions of an instance, with the real one's way of losing them.

* A session's lock is this process' own. Another process has another one.
* Reading moves the end of the key, not the `expires_at` inside the document; saving moves both.
* A store that is down looks like a session that is gone, and a failed save like a good one.
"""

import asyncio
import time
import uuid
from typing import Any, Literal

from kato_consul.testing.kato import config, memory
from kato_consul.testing.kato.faulty_store import FaultyStore, StoreError
from kato_consul.testing.kato.memory import Session

DEFAULT_TTL = 3600  # seconds


class Sessions:
    """Creates, finds and saves sessions."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, session_id: str) -> asyncio.Lock:
        """Return the lock of this session in this process."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    @property
    def known(self) -> int:
        """How many sessions this process has met."""
        return len(self._locks)

    async def create(
        self,
        node_id: str,
        ttl_seconds: int | None,
        metadata: dict[str, Any] | None,
        wanted: dict[str, Any] | None,
    ) -> Session:
        """Make a session and save it. StoreError when it cannot be saved."""
        now = time.time()
        ttl = ttl_seconds or DEFAULT_TTL
        session = Session(
            session_id=f"session-{uuid.uuid4().hex}-{int(now * 1000)}",
            node_id=node_id,
            created_at=now,
            expires_at=now + ttl,
            ttl_seconds=ttl,
            metadata=metadata or {},
            config=config.at_creation(wanted or {}),
        )
        await self._store.write(session, ttl)
        self.lock(session.session_id)
        return session

    async def get(self, session_id: str) -> Session | None:
        """Return a session that lives, or None: gone, expired, or the store cannot be reached."""
        try:
            session = await self._alive(session_id)
            if session is not None:
                await self._store.touch(session_id, session.ttl_seconds)
        except StoreError:
            return None
        if session is not None:
            session.expires_at = time.time() + session.ttl_seconds
        return session

    async def save(self, session: Session) -> bool:
        """Write the whole session back and move its end; False when the store refused."""
        session.expires_at = time.time() + session.ttl_seconds
        memory.trim(session)
        try:
            await self._store.write(session, session.ttl_seconds)
        except StoreError:
            return False
        return True

    async def extend(self, session_id: str, ttl: int) -> bool:
        """Let the session end in `ttl` seconds; until its next use, which moves the end again."""
        session = await self.get(session_id)
        if session is None:
            return False
        session.expires_at = time.time() + ttl
        await self._store.write(session, ttl)
        return True

    async def delete(self, session_id: str) -> bool:
        """Forget the session; False when there was none."""
        self._locks.pop(session_id, None)
        return await self._store.delete(session_id)

    async def look(self, session_id: str) -> Literal["alive", "expired", "gone"]:
        """Tell how a session is without prolonging it. StoreError when nobody can know."""
        if not await self._store.exists(session_id):
            return "gone"
        return "expired" if await self._alive(session_id) is None else "alive"

    async def count(self) -> int:
        """Return how many sessions there are; with the store down, how many this process met."""
        try:
            return await self._store.count()
        except StoreError:
            return self.known

    async def _alive(self, session_id: str) -> Session | None:
        session = await self._store.read(session_id)
        if session is not None and session.expires_at < time.time():
            await self.delete(session_id)
            return None
        return session
