"""Middleware: hanging, trace ids and the session check, before and after the endpoints.

A hanging instance keeps the request waiting. The response gets a trace id. If the session in the
path does not exist, the response is a 404 in the middleware's own format; for two reads of a
session the endpoint makes this check instead.
"""

import time
import uuid
from http.cookies import SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kato_consul.testing.kato.faulty_store import hang
from kato_consul.testing.kato.state import State


class KatoMiddleware:
    """The ASGI middleware. `state` is the worker's."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace = {"X-Trace-ID": headers.get("X-Trace-ID") or f"kato-{uuid.uuid4().hex}"}
        session: dict[str, str] = {}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(session | trace)
            await send(message)

        started = time.monotonic()
        with self._state.load:
            if self._state.switches.now().hung:
                receive = await read_whole_body(receive)
                await hang(self._state.switches)
            app = self._app
            session_id = session_in_path(scope["method"], scope["path"])
            if session_id is not None:
                if await self._state.sessions.get(session_id) is None:
                    app = not_found(session_id)
                else:
                    session["X-Session-ID"] = session_id
            elif other := session_in_headers(scope["path"], headers):
                await self._state.sessions.get(other)  # only renews it
                session["X-Session-ID"] = other
            await app(scope, receive, send_with_headers)
        seconds = time.monotonic() - started
        self._state.load.record(scope["method"], scope["path"], seconds)


async def read_whole_body(receive: Receive) -> Receive:
    """Read the complete request, so that it can be processed after its caller has gone."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    messages.reverse()

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def session_in_path(method: str, path: str) -> str | None:
    """Return the session that must exist; None if there is none, or if the endpoint checks it."""
    match path.split("/"):
        case ["", "sessions", session_id] if session_id and method != "GET":
            return session_id
        case ["", "sessions", _, "exists"] if method == "GET":
            return None
        case ["", "sessions", session_id, *rest] if session_id and rest:
            return session_id
    return None


def session_in_headers(path: str, headers: Headers) -> str | None:
    """Return the session that a header or a cookie names, on a path without a session."""
    if path.startswith("/sessions/"):
        return None
    cookie = SimpleCookie(headers.get("cookie", "")).get("session_id")
    return headers.get("X-Session-ID") or (cookie.value if cookie else None)


def not_found(session_id: str) -> JSONResponse:
    """Return the middleware's 404; an endpoint's is `{"detail": ...}`."""
    error = {
        "code": "SESSION_NOT_FOUND",
        "message": f"Session {session_id} not found or expired",
        "session_id": session_id,
    }
    return JSONResponse({"error": error}, status_code=404)
