"""Bodies: read as a whole before the application is called, and limited in size.

So the application sees no request that ends in the middle, and none that is too long.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kato_consul.proxy.server.measuring import Meter, Rejection
from kato_consul.proxy.server.refusals import refuse


class WholeBody:
    """An ASGI middleware that reads the body of a request before it serves it.

    Args:
        app: the application.
        max_body: bytes that a body may have.
        meter: counts bodies that have more.
    """

    def __init__(self, app: ASGIApp, max_body: int, meter: Meter) -> None:
        self._app = app
        self._max_body = max_body
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http" and (announced := _announced(scope)):
            if announced > self._max_body:
                await self._refuse(scope, send)
                return
            body = await self._read(receive)
            if body is None:
                return  # the caller has left, or was too slow
            if len(body) > self._max_body:
                await self._refuse(scope, send)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, or more than `max_body` bytes of it; None if it does not end."""
        message = await receive()
        if message["type"] != "http.request":
            return None
        body: bytes = message["body"]
        if not message["more_body"]:
            return body
        parts = [body]
        size = len(body)
        while message["more_body"] and size <= self._max_body:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message["body"])
            size += len(message["body"])
        return b"".join(parts)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        self._meter.rejected(Rejection.TOO_LARGE)
        detail = f"the body is larger than {self._max_body} bytes"
        await refuse(scope, send, 413, detail)


def _announced(scope: Scope) -> int:
    """Return the length of the body as far as the headers have it: 0 if there is none, 1 if it
    comes in chunks."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return 1
    return 0


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def replayed() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
