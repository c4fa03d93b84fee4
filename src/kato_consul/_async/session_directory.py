"""The session directory for operators, on asyncio: what it holds, and releases by hand."""

import contextlib
from typing import Self

from kato_consul._async import runtime
from kato_consul._async.driver import AsyncDriver
from kato_consul._directory.by_hand import release_by_hand, session_entry
from kato_consul._directory.choice import directory_of
from kato_consul._runtime_defaults import clock
from kato_consul.errors import ClientClosed
from kato_consul.models import SessionEntry
from kato_consul.settings import Settings

LEAVE_WITHIN = 2.0
"""Seconds that the end of a lease may take when this is closed; otherwise it ends by itself."""


class AsyncSessionDirectory:
    """What the session directory holds: the sessions that the processes of one service share.

        async with AsyncSessionDirectory() as directory:
            for entry in await directory.entries():
                print(entry.key, entry.id, entry.owner, entry.epoch)

    It is for operators and their tools: clients need only ``settings.session_directory``. It sends
    nothing to KATO.

    Args:
        settings: which directory, and which service; from the environment unless given.

    Raises:
        ConfigurationError: the settings name no session directory, or the package that it needs is
            missing.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._driver = AsyncDriver(self.settings, owner=self)
        runtime.in_each_process(self, AsyncSessionDirectory._set_up)

    def _set_up(self) -> None:
        self._directory = directory_of(self.settings)
        self._begun = False

    @property
    def name(self) -> str:
        """What it is, and where, without credentials: ``Consul at 127.0.0.1:8500``."""
        return self._directory.name

    async def entries(self, timeout: float | None = None) -> list[SessionEntry]:
        """Return all sessions of the service, ordered by key. Entries that cannot be read are left
        out, and logged.

        Args:
            timeout: the longest wait in seconds; ``settings.deadline`` unless given.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer in time, or refused.
        """
        found = await self._driver.run(self._directory.entries(self._deadline(timeout)))
        return [session_entry(stored) for stored in found]

    async def entry(self, key: str, timeout: float | None = None) -> SessionEntry | None:
        """Return one session; None if the directory has none of this key.

        Args:
            key: the key that callers use.
            timeout: the longest wait in seconds; ``settings.deadline`` unless given.

        Raises:
            SessionDirectoryUnavailable: the directory did not answer in time, or refused, or the
                entry cannot be read.
        """
        found = await self._driver.run(self._directory.entry(key, self._deadline(timeout)))
        return None if found is None else session_entry(found)

    async def release(self, key: str, timeout: float | None = None) -> SessionEntry | None:
        """Let the process that owns a session hand it over, as if another one needed it.

        It is never taken from a process that lives: the owner ends the call in hand first. After
        that, the next process that uses the session goes on with it; that may be the same. A
        session without an owner stays as it is.

        Args:
            key: the key that callers use.
            timeout: the longest wait in seconds; ``settings.deadline`` unless given.

        Returns:
            The session after that; None if the directory has none of this key.

        Raises:
            SessionOwnedElsewhere: its owner did not release it in time.
            SessionDirectoryUnavailable: the directory did not answer in time, or refused, or the
                entry cannot be read.
        """
        self._begin()
        flow = release_by_hand(self._directory, key, self._deadline(timeout))
        found = await self._driver.run(flow)
        return None if found is None else session_entry(found)

    def _begin(self) -> None:
        """Start what a process does that acquires sessions."""
        self._driver.check_usable()
        if not self._begun:
            self._begun = True
            for flow, name in self._directory.background():
                self._driver.start(flow, name)

    def _deadline(self, timeout: float | None) -> float:
        return clock() + (self.settings.deadline if timeout is None else timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            if self._begun:
                with contextlib.suppress(ClientClosed):
                    await self._driver.run(self._directory.leave(clock() + LEAVE_WITHIN))
        finally:
            await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
