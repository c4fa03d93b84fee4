"""Session store of an instance, with the real KATO's faults.

* The lock of a session exists per process: other processes have another lock.
* Reading renews the key, but not the `expires_at` inside the document; saving renews both.
* If the store is down, a session appears to be missing, and a failed save to have succeeded.
"""

import asyncio
import time
import uuid
from typing import Any, Literal

from kato_consul.testing.kato import config, memory
from kato_consul.testing.kato.faulty_store import FaultyStore, StoreError
from kato_consul.testing.kato.memory import StoredSession

DEFAULT_TTL = 3600  # seconds


class SessionStore:
    """Creates, reads and saves sessions."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, session_id: str) -> asyncio.Lock:
        """Return the lock of this session in this process."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    @property
    def known(self) -> int:
        """Number of sessions that this process has handled."""
        return len(self._locks)

    async def create(
        self,
        node_id: str,
        ttl_seconds: int | None,
        metadata: dict[str, Any] | None,
        requested: dict[str, Any] | None,
    ) -> StoredSession:
        """Create a session and save it. Raises StoreError if it cannot be saved."""
        now = time.time()
        ttl = ttl_seconds or DEFAULT_TTL
        session = StoredSession(
            session_id=f"session-{uuid.uuid4().hex}-{int(now * 1000)}",
            node_id=node_id,
            created_at=now,
            expires_at=now + ttl,
            ttl_seconds=ttl,
            metadata=metadata or {},
            config=config.at_creation(requested or {}),
        )
        await self._store.write(session, ttl)
        self.lock(session.session_id)
        return session

    async def get(self, session_id: str) -> StoredSession | None:
        """Return a session; None if it is missing or expired, or if the store is down."""
        try:
            session = await self._read_unexpired(session_id)
            if session is not None:
                await self._store.touch(session_id, session.ttl_seconds)
        except StoreError:
            return None
        if session is not None:
            session.expires_at = time.time() + session.ttl_seconds
        return session

    async def save(self, session: StoredSession) -> bool:
        """Write the whole session back and renew it; return False if the store refused."""
        session.expires_at = time.time() + session.ttl_seconds
        memory.trim(session)
        try:
            await self._store.write(session, session.ttl_seconds)
        except StoreError:
            return False
        return True

    async def extend(self, session_id: str, ttl: int) -> bool:
        """Set the expiry to `ttl` seconds from now; the next use resets it. False if missing.

        A `ttl` of 0 or less deletes the session.
        """
        session = await self.get(session_id)
        if session is None:
            return False
        if ttl <= 0:
            return await self.delete(session_id)
        session.expires_at = time.time() + ttl
        await self._store.write(session, ttl)
        return True

    async def delete(self, session_id: str) -> bool:
        """Delete the session; return False if there was none."""
        self._locks.pop(session_id, None)
        return await self._store.delete(session_id)

    async def status(self, session_id: str) -> Literal["alive", "expired", "missing"]:
        """Return a session's status without renewing it. Raises StoreError if the store fails."""
        if not await self._store.exists(session_id):
            return "missing"
        return "expired" if await self._read_unexpired(session_id) is None else "alive"

    async def count(self) -> int:
        """Return the number of sessions; if the store is down, of those this process handled."""
        try:
            return await self._store.count()
        except StoreError:
            return self.known

    async def _read_unexpired(self, session_id: str) -> StoredSession | None:
        session = await self._store.read(session_id)
        if session is not None and session.expires_at < time.time():
            await self.delete(session_id)
            return None
        return session
