"""Sessions that processes share, on asyncio: the background work of their owner."""

import contextlib
import os
import weakref
from functools import partial
from typing import TypeVar

from kato_consul._async import runtime
from kato_consul._async.discovery import AsyncDiscovery
from kato_consul._async.driver import AsyncDriver
from kato_consul._async.session import AsyncSession
from kato_consul._directory.choice import directory_of
from kato_consul._directory.directory import Directory
from kato_consul._flow import Flow
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._owning.handover import due, release
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._runtime_defaults import clock
from kato_consul.errors import ClientClosed, SessionDirectoryUnavailable

T = TypeVar("T")

LEAVE_WITHIN = 2.0
"""Seconds that handing over all sessions may take when a client is closed. What is not handed over
is taken over by others, which takes them a few seconds more."""

AT_ONCE = 16
"""Sessions that are handed over at the same time then: a cluster of Consul takes milliseconds for
each, most of them waiting."""


class SharedSessions:
    """Runs the flows of sessions that one client shares, beside the background work of their owner,
    which begins with the first of them."""

    def __init__(self, discovery: AsyncDiscovery, owned: OwnedSessions) -> None:
        self._discovery = discovery
        self._driver = discovery._driver
        self._owned = owned
        self._factory: weakref.ref[SessionFactory] | None = None
        self._process = os.getpid()
        self._begun = False
        self._begin_lock = runtime.ThreadLock()

    @property
    def directory(self) -> Directory:
        """The session directory."""
        return self._owned.directory

    def attach(self, factory: SessionFactory) -> None:
        """Set the factory that has the sessions. It is reached from what users hold, and not kept
        by the background work."""
        self._factory = weakref.ref(factory)

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow of a session."""
        if not self._begun:
            self._begin()
        return await self._discovery._run(flow)

    def _begin(self) -> None:
        assert self._factory is not None
        self._driver.check_usable()
        with self._begin_lock:
            if self._begun:
                return
            self._begun = True
        if self._process != os.getpid():  # created before a fork, and used after it
            # Each child is an owner of its own: with one nonce they would not exclude each other.
            self._owned.directory = directory_of(self._discovery.settings)
        for flow, name in self._owned.directory.background():
            self._driver.start(flow, name)
        work = partial(_hand_over, self._driver, self._owned, self._factory)
        self._driver.start_work(work, "kato-consul hand-over")

    async def hand_over(self, session: AsyncSession, deadline: float) -> bool:
        """Give a session up, unless it has a call. Return whether it had none."""
        return await session._turn.run_if_idle(partial(release, self._owned), deadline)

    async def leave(self) -> None:
        """Hand over all sessions that no call uses, and end the owner's lease."""
        factory = None if self._factory is None else self._factory()
        if not self._begun or factory is None:
            return
        deadline = clock() + LEAVE_WITHIN

        async def give_up(key: str) -> None:
            session = factory.sessions.get(key)
            if session is not None and clock() < deadline:
                await self.hand_over(session, deadline)

        with contextlib.suppress(ClientClosed, SessionDirectoryUnavailable):
            keys = list(self._owned.states)
            for start in range(0, len(keys), AT_ONCE):
                await runtime.map_concurrently(give_up, keys[start : start + AT_ONCE])
            await self._driver.run(self._owned.directory.leave(deadline))


async def _hand_over(
    driver: AsyncDriver, owned: OwnedSessions, factory: "weakref.ref[SessionFactory]"
) -> None:
    """Hand over sessions that others wait for. Not a method: it would keep an object that users
    have dropped."""
    busy = False
    while True:
        states = await driver.run(due(owned, busy=busy))
        busy = False
        for state in states:
            living = factory()
            if living is None:
                return
            session = living.sessions.get(state.key)
            deadline = clock() + LEAVE_WITHIN
            if session is None:  # KATO has refused to open it
                await driver.run(release(owned, living.api, state, deadline))
            elif not await session._turn.run_if_idle(partial(release, owned), deadline):
                busy = True
            del living, session
