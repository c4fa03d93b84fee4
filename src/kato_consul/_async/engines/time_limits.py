"""Time limits of the operations that an engine has in progress; all end when it is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TimeLimits:
    """The operations in progress, each with its time limit."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Timeout, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Raise `TimeoutError` if the block takes longer, or at `end_all`."""
        timeout = asyncio.timeout(seconds)
        self._running[timeout] = ended = asyncio.get_running_loop().create_future()
        try:
            async with timeout:
                yield
        finally:
            del self._running[timeout]
            ended.set_result(None)

    async def end_all(self) -> None:
        """End all operations now, and wait until they have ended."""
        now = asyncio.get_running_loop().time()
        for timeout in self._running:
            if not timeout.expired():
                timeout.reschedule(now)
        if self._running:
            await asyncio.wait([*self._running.values()])
