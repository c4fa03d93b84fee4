"""Route of the event stream, a WebSocket: a snapshot first, then events; "ping" returns "pong"."""

from datetime import datetime

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from kato_consul.testing.kato.events import event
from kato_consul.testing.kato.faulty_store import hang
from kato_consul.testing.kato.state import Worker

router = APIRouter(tags=["websocket"])


@router.websocket("/ws/events")
async def events(websocket: WebSocket, kato: Worker) -> None:
    """Serve one client. Other texts than "ping" are ignored; a binary message ends the stream."""
    await hang(kato.switches)
    await websocket.accept()
    with kato.events.subscribed(websocket):  # before the snapshot, so an event can come first
        try:
            await websocket.send_text(await snapshot(kato))
            while (message := await websocket.receive())["type"] == "websocket.receive":
                await hang(kato.switches)
                if message.get("text") is None:
                    await websocket.close()
                elif message["text"] == "ping":
                    await websocket.send_text("pong")
        except WebSocketDisconnect:
            return


async def snapshot(kato: Worker) -> str:
    """Return the first event of a stream. Its time is local and without a zone, as KATO's is."""
    data = {"active_sessions": await kato.sessions.count(), "system_status": "healthy"}
    return event("state.snapshot", datetime.now(), data)  # noqa: DTZ005
