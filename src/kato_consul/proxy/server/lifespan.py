"""The ASGI lifespan of the application: opened before the first request, closed after the last."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message


class Lifespan:
    """Drives the lifespan of an application (https://asgi.readthedocs.io/en/latest/specs/lifespan).

    uvicorn's own reports a failure as a line in the log; this one raises what the application
    raised.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._replies: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> None:
        """Open the application.

        Raises:
            The exception of the application, if it could not be opened.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        self._running = asyncio.ensure_future(
            self._app(scope, self._messages.get, self._replies.put)
        )
        await self._exchange("startup")

    async def end(self) -> None:
        """Close the application."""
        await self._exchange("shutdown")
        await self._running

    async def _exchange(self, phase: str) -> None:
        """Send an event, and wait for the reply or for the application's exception."""
        await self._messages.put({"type": f"lifespan.{phase}"})
        replied = asyncio.ensure_future(self._replies.get())
        await asyncio.wait({replied, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if replied.done() and replied.result()["type"] == f"lifespan.{phase}.complete":
            return
        replied.cancel()
        await self._running
        raise RuntimeError(f"the application ended at its {phase}")
