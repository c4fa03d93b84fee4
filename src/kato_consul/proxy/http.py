"""HTTP on ASGI: what the endpoints read of a request, and how they reply.

The endpoints are plain ASGI applications. Starlette's request and response objects cost as much as
the rest of an endpoint.
"""

import os
from typing import Any, NamedTuple

import msgspec
from starlette.types import Receive, Scope, Send

from kato_consul._tracing import is_trace_id

ROUTE = "kato_consul.route"
"""Key of the ASGI scope under which an endpoint puts the template of its path, for metrics."""

CALLER = "kato_consul.caller"
"""Key of the ASGI scope under which the server puts the name of the caller's API key."""

JSON = b"application/json"

Headers = list[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """A complete response, without the headers that every response has."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = []  # noqa: RUF012  # never changed


class CallerGone(Exception):
    """The caller closed the connection before its request was complete."""


class RequestHead(NamedTuple):
    """What is read of a request's headers. ``idempotency_key`` is as it was sent, None without."""

    trace_id: str
    content_type: bytes
    idempotency_key: str | None


def read_head(scope: Scope) -> RequestHead:
    """Return the head of a request; a trace id is made if it has none that can be passed on."""
    trace_id, content_type, idempotency_key = "", b"", None
    for name, value in scope["headers"]:
        if name == b"x-trace-id":
            trace_id = value.decode("latin-1")
        elif name == b"content-type":
            content_type = value
        elif name == b"idempotency-key":
            idempotency_key = value.decode("latin-1")
    if not is_trace_id(trace_id):
        trace_id = f"trace-{os.urandom(16).hex()}"
    return RequestHead(trace_id, content_type, idempotency_key)


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of a request.

    Raises:
        CallerGone: it is not complete.
    """
    message = await receive()
    if not message.get("more_body"):  # nearly all requests
        if message["type"] == "http.disconnect":
            raise CallerGone
        body: bytes = message.get("body", b"")
        return body
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def send_reply(send: Send, reply: Reply, *more: tuple[bytes, bytes]) -> None:
    """Send a response, with ``more`` headers."""
    headers = [
        (b"content-length", b"%d" % len(reply.body)),
        (b"content-type", reply.content_type),
        *reply.headers,
        *more,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def json_reply(status: int, body: Any) -> Reply:
    """Return a response with a JSON body."""
    return Reply(status, msgspec.json.encode(body))


def detail_reply(status: int, detail: Any) -> Reply:
    """Return an error in the form of KATO's endpoints."""
    return json_reply(status, {"detail": detail})
