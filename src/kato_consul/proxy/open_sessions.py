"""Open sessions: the session of each id that was given out, for as long as KATO would keep it.

An id is KATO's first id of the session. It is the session's key in the client and in the session
directory, so it stays valid when the session continues under another id, and any proxy of the same
directory finds it. An id that this process does not know yet is attached to.
"""

import asyncio
import re
import time
from typing import TypeVar

from kato_consul import AsyncKatoClient, AsyncSession
from kato_consul._directory.directory import Directory
from kato_consul._flow import Flow
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.whole_responses import (
    Json,
    create,
    create_once,
    use_created,
    with_used_config,
)
from kato_consul._logging import logger
from kato_consul._owning.entry_state import DEFAULT_TTL, is_expired
from kato_consul.errors import KatoConsulError, SessionGone

T = TypeVar("T")

log = logger("proxy")

SESSION_ID = re.compile(r"[A-Za-z0-9._~:-]{1,200}")
"""Ids that KATO may have given: see `response_shapes.SessionId`."""

SWEEP_INTERVAL = 30.0
"""Seconds between two searches for sessions that have expired."""

KEY_KEPT_FOR = 2
"""For how many times to live of a session the key is known with which it was created. Its entry in
the session directory lasts as long: see `entry_state.expiry`."""

RELEASE_WITHIN = 2.0
"""Seconds that giving up an expired session may take."""


class OpenSessions:
    """The sessions that this process serves."""

    def __init__(self, client: AsyncKatoClient) -> None:
        self._client = client
        self._factory = client._factory
        shared = client._shared
        self._shared = shared
        self._directory: Directory | None = None if shared is None else shared.directory
        self._known: dict[str, AsyncSession] = {}

    def __len__(self) -> int:
        return len(self._known)

    def deadline(self) -> float:
        """Return the deadline of a call that starts now, on the client's clock."""
        return self._factory.deadline()

    async def create(self, asked: Json, idempotency_key: str | None, caller: str) -> Json:
        """Let KATO create a session, and return its response. Each ``caller`` has keys of its own:
        it must not be given the session of another one.

        Raises:
            IdempotencyKeyReused, KatoConsulError: see `create_once`, `post_session`.
        """
        factory, is_new = self._factory, True
        if idempotency_key is None:
            nothing = SessionState("", "")
            flow = create(asked)(factory.api, nothing, factory.deadline())
            response = await self._client.discovery._run(flow)
        else:
            # No path of a session has this key: it has a slash.
            first = self._client.session(f"idempotency-key/{caller}/{idempotency_key}")
            once = create_once(asked, idempotency_key)
            response, is_new = await first._run("create", once)
            self._known[first.key] = first
            self.used(first, KEY_KEPT_FOR * (first._state.ttl or DEFAULT_TTL))
        if is_new:  # otherwise it may have been used since, and its first use here attaches to it
            session = self._session(response["session_id"])
            await session._run("create", use_created(response, asked))
            self.used(session)  # its time to live is known now
        return with_used_config(response, asked)

    async def find(self, session_id: str, deadline: float) -> AsyncSession:
        """Return the session of an id, before a deadline on the client's clock.

        Raises:
            SessionGone: KATO does not have it, and it cannot be restored: it has expired, was
                deleted, or never existed.
            KatoConsulError: neither could be determined.
        """
        known = self._known.get(session_id)
        if known is not None and not known._state.has_expired(self._factory.api.now()):
            return known
        return await self._find(session_id, known, deadline)

    async def _find(
        self, session_id: str, known: AsyncSession | None, deadline: float
    ) -> AsyncSession:
        if not SESSION_ID.fullmatch(session_id) or not await self._is_there(
            session_id, known, deadline
        ):
            if known is not None:
                await self.forget(session_id)
            raise SessionGone(session_id, session_id)
        return self._session(session_id)

    def current_id(self, session_id: str) -> str:
        """Return the id under which KATO has a session now, as far as this process knows."""
        known = self._known.get(session_id)
        return known.id or session_id if known is not None else session_id

    def goes_on(self, session_id: str) -> bool:
        """Return whether a session that KATO has deleted continues under another id."""
        return self.current_id(session_id) != session_id

    def used(self, session: AsyncSession, ttl: int | None = None) -> None:
        """Record that KATO has just answered a call on a session, which sets its time to live anew:
        to ``ttl`` seconds, unless it has its own."""
        self._renew(session._state, ttl)

    def renewing(self, flow: CallFlow[T], ttl: int | None = None) -> CallFlow[T]:
        """Return the flow of a call that is such a use. It is recorded before the call has ended:
        the session may be handed over at its end, and may have expired without it."""

        def call(api: KatoApi, state: SessionState, deadline: float) -> Flow[T]:
            result = yield from flow(api, state, deadline)
            self._renew(state, ttl)
            return result

        return call

    def _renew(self, state: SessionState, ttl: int | None) -> None:
        state.ends_at = self._factory.api.now() + (ttl or state.ttl or DEFAULT_TTL)

    async def forget(self, session_id: str) -> None:
        """Forget a session that has ended, unless it has a call."""
        session = self._known.pop(session_id, None)
        if session is None:
            return
        if self._shared is not None:
            deadline = self._factory.api.now() + RELEASE_WITHIN
            if not await self._shared.hand_over(session, deadline):
                return
        if session._turn.is_idle:
            self._factory.let_go(session._state)

    async def sweep(self) -> None:
        """Forget sessions that have expired, for as long as the proxy runs."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            now = self._factory.api.now()
            expired = [
                key for key, session in self._known.items() if session._state.has_expired(now)
            ]
            for session_id in expired:
                try:
                    await self.forget(session_id)
                except KatoConsulError as error:  # the next use of the id finds it again
                    log.warning("proxy.not_forgotten", why=str(error))

    def _session(self, session_id: str) -> AsyncSession:
        """Return the session of an id that exists. It counts as used: KATO was asked for it."""
        session = self._known[session_id] = self._client.session(session_id, attach=session_id)
        self.used(session)
        return session

    async def _is_there(
        self, session_id: str, expired: AsyncSession | None, deadline: float
    ) -> bool:
        """Return whether KATO has the session, or it can be restored from its entry. ``expired`` is
        what this process has of it, if it has."""
        current = self.current_id(session_id)
        if await self._kato_has(current, deadline):
            return True
        if self._directory is None:
            return False
        stored = await self._client.discovery._run(self._directory.entry(session_id, deadline))
        if stored is None or not stored.entry.id:
            return False
        entry = stored.entry
        if stored.owned and entry.owner != self._directory.nonce:
            return True  # its owner knows when it was used last, and hands it over accordingly
        if stored.owned and expired is not None:
            return False  # as does this process
        if entry.id != current and await self._kato_has(entry.id, deadline):
            return True
        if entry.released:
            return time.time() < entry.written_at + (entry.ttl or DEFAULT_TTL)
        return not is_expired(entry)

    async def _kato_has(self, session_id: str, deadline: float) -> bool:
        state = SessionState(session_id, "")
        state.journal = Journal(session_id=session_id)
        exists = self._factory.api.session_exists("finding the session", state, deadline)
        found: bool = await self._client.discovery._run(exists)
        return found
