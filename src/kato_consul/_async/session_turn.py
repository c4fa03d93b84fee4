"""Turn of a session on asyncio: its calls run one at a time, in the order in which they were made.

`kato_consul._sync.session_turn` has the same for threads.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import SessionState

T = TypeVar("T")


class SessionTurn:
    """Runs the calls of one session. The wait for the turn is part of a call's deadline."""

    __slots__ = ("_calls", "_lock", "_running", "_state", "factory")

    def __init__(self, factory: SessionFactory, state: SessionState) -> None:
        self.factory = factory
        self._state = state
        self._lock = asyncio.Lock()
        self._calls = 0  # the one that has the turn, and those that wait for it
        self._running: asyncio.Task[Any] | None = None

    @property
    def is_idle(self) -> bool:
        """True if the session has no call, and none waits."""
        return not self._calls

    async def run(
        self, flow: Callable[[KatoApi, SessionState, float], Flow[T]], deadline: float | None = None
    ) -> T:
        """Run a flow when it is this call's turn, and return its result.

        ``deadline`` is that of the settings unless given: a caller may have begun before.

        Raises:
            ClientClosed: the client is closed, or belongs to another loop or process.
            RequestNotSent: the turn did not come before the deadline.
            SessionBusy: the call is made from within another call on the session.
        """
        factory = self.factory
        factory.check_usable()
        if deadline is None:
            deadline = factory.deadline()
        self._calls += 1
        try:
            if self._calls == 1:
                await self._lock.acquire()  # it is free, so this does not wait
            else:
                await self._wait(deadline)
            self._running = asyncio.current_task()
            try:
                result: T = await factory.run(
                    flow(factory.api, self._state, deadline)
                    if factory.owner is None
                    else factory.owner.run(factory.api, flow, self._state, deadline)
                )
                return result
            finally:
                self._running = None
                self._lock.release()
        finally:
            self._calls -= 1

    async def run_if_idle(
        self, flow: Callable[[KatoApi, SessionState, float], Flow[None]], deadline: float
    ) -> bool:
        """Run a flow of the owner's, unless the session has a call. Return whether it ran."""
        if self._calls:
            return False
        self._calls += 1
        try:
            async with self._lock:
                await self.factory.run(flow(self.factory.api, self._state, deadline))
        finally:
            self._calls -= 1
        return True

    async def _wait(self, deadline: float) -> None:
        if self._running is asyncio.current_task():
            raise self.factory.busy(self._state)
        try:
            async with asyncio.timeout(self.factory.remaining(deadline)):
                await self._lock.acquire()
        except TimeoutError:
            raise self.factory.turn_did_not_come(self._state) from None
