"""What happens to a request before and after the endpoints.

In this order: a hanging instance keeps it; it gets a trace id; a session in its path must live,
or the answer is a 404 in a shape of its own. Two reads of a session are left to their endpoints.
"""

import time
import uuid
from http.cookies import SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kato_consul.testing.kato.faulty_store import hang
from kato_consul.testing.kato.state import State


class Gate:
    """The ASGI middleware. `state` is the instance's."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = {"X-Trace-ID": headers.get("X-Trace-ID") or f"kato-{uuid.uuid4().hex}"}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(answer)
            await send(message)

        started = time.monotonic()
        with self._state.load:
            if self._state.switches.now().hung:
                receive = await taken_in(receive)
                await hang(self._state.switches)
            session_id = session_in_path(scope["method"], scope["path"])
            if session_id is not None:
                if await self._state.sessions.get(session_id) is None:
                    await not_found(session_id)(scope, receive, send_with_headers)
                    return
                answer["X-Session-ID"] = session_id
            elif other := session_beside_path(scope["path"], headers):
                await self._state.sessions.get(other)  # it counts as a use, and that is all
                answer["X-Session-ID"] = other
            await self._app(scope, receive, send_with_headers)
        self._state.load.took(time.monotonic() - started)


async def taken_in(receive: Receive) -> Receive:
    """Take in the whole request, so that it can be carried out when its caller is gone."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    messages.reverse()

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def session_in_path(method: str, path: str) -> str | None:
    """Return the session that must live for this request; None when the endpoint looks itself."""
    match path.split("/"):
        case ["", "sessions", session_id] if session_id and method != "GET":
            return session_id
        case ["", "sessions", _, "exists"] if method == "GET":
            return None
        case ["", "sessions", session_id, *rest] if session_id and rest:
            return session_id
    return None


def session_beside_path(path: str, headers: Headers) -> str | None:
    """Return the session that a header or a cookie names on any other path."""
    if path.startswith("/sessions/"):
        return None
    cookie = SimpleCookie(headers.get("cookie", "")).get("session_id")
    return headers.get("X-Session-ID") or (cookie.value if cookie else None)


def not_found(session_id: str) -> JSONResponse:
    """Return the 404 of this place; an endpoint's own is `{"detail": ...}`."""
    error = {
        "code": "SESSION_NOT_FOUND",
        "message": f"Session {session_id} not found or expired",
        "session_id": session_id,
    }
    return JSONResponse({"error": error}, status_code=404)
