"""Responses that the server itself gives: JSON with KATO's field ``detail``."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.types import Scope, Send

Header = tuple[bytes, bytes]

RETRY_SOON = (b"retry-after", b"1")
"""For limits whose end is not known: Retry-After has whole seconds."""


async def refuse(
    scope: Scope, send: Send, status: int, detail: str, headers: Sequence[Header] = ()
) -> None:
    """Answer a request; refuse the handshake of a WebSocket."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})  # which is answered with a 403
            return
    body = _body(detail)
    start: dict[str, Any] = {"status": status, "headers": [*_headers(body), *headers]}
    await send({"type": f"{kind}.start", **start})
    await send({"type": f"{kind}.body", "body": body})


def closing_response(status: int, detail: str, headers: Sequence[Header] = ()) -> bytes:
    """Return the bytes of a response after which the connection is closed."""
    body = _body(detail)
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    for name, value in (*_headers(body), *headers, (b"connection", b"close")):
        lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", body])


def _body(detail: str) -> bytes:
    return json.dumps({"detail": detail}).encode()


def _headers(body: bytes) -> tuple[Header, Header]:
    return (
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    )
