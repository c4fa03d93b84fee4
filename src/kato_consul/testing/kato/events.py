"""Event stream: tells WebSocket clients of a worker which sessions it has created and deleted.

As in the real KATO, a client gets the events of the worker that it is connected to, and of no
other. A session that expires has no event.
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect


class EventStream:
    """The clients of one worker's event stream."""

    def __init__(self) -> None:
        self._clients: list[WebSocket] = []

    @contextlib.contextmanager
    def subscribed(self, client: WebSocket) -> Iterator[None]:
        """Send events to an accepted WebSocket until the block ends."""
        self._clients.append(client)
        try:
            yield
        finally:
            self._remove(client)

    async def send(self, event_type: str, data: dict[str, Any]) -> None:
        """Send an event to all clients. Waits for each: one that does not read delays the others,
        and the request that the event is about.
        """
        message = event(event_type, datetime.now(UTC), data)
        for client in list(self._clients):
            try:
                await client.send_text(message)
            except (WebSocketDisconnect, RuntimeError):  # it has gone, or is being closed
                self._remove(client)

    def _remove(self, client: WebSocket) -> None:
        if client in self._clients:
            self._clients.remove(client)


def event(event_type: str, timestamp: datetime, data: dict[str, Any]) -> str:
    """Return the text of an event."""
    return json.dumps({"event_type": event_type, "timestamp": timestamp.isoformat(), "data": data})
