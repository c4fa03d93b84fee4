"""HTTP/1.1 messages of the fault proxy: h11 finds their ends, the bytes are forwarded unchanged.

No pipelining, no upgrades, no ``Expect: 100-continue``.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

import h11

from kato_consul.testing.fault_plan import Fault

CHUNK = 2**16  # bytes of one read
HEAD_LIMIT = 2**20  # bytes of a head
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close at once, which sends a RST


@dataclass(frozen=True, slots=True)
class Message:
    """A complete request or response, as received. ``head`` ends with its empty line."""

    start: h11.Request | h11.Response
    head: bytes
    body: bytes
    closes: bool

    def with_close(self) -> bytes:
        """Return the message with ``connection: close``."""
        lines = [line for line in self.head.split(b"\r\n") if line]
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"connection: close", b"", self.body])

    def half(self) -> bytes:
        """Return the head and half the body; without a body, half the head."""
        message = self.head + self.body
        return message[: len(self.head) + len(self.body) // 2 if self.body else len(message) // 2]


class Upstream:
    """One connection to the instance, opened when needed and kept as long as the caller's."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Message) -> Message:
        """Forward the request and return the instance's response.

        Raises:
            OSError, h11.RemoteProtocolError: there is no complete response.
        """
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request.head + request.body)
        response = await read_response(reader, request)
        if response.closes:
            self.close()
        return response

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def read_request(reader: asyncio.StreamReader) -> Message | None:
    """Return the next request; None if the caller closed the connection instead."""
    return await _read(reader, h11.Connection(h11.SERVER, HEAD_LIMIT))


async def read_response(reader: asyncio.StreamReader, request: Message) -> Message:
    """Return the response to the request.

    Raises:
        OSError, h11.RemoteProtocolError: there is no complete response.
    """
    parser = h11.Connection(h11.CLIENT, HEAD_LIMIT)
    # The method decides where the response ends, so the parser needs it.
    assert isinstance(request.start, h11.Request)
    parser.send(h11.Request(method=request.start.method, target=b"/", headers=[("host", "-")]))
    parser.send(h11.EndOfMessage())
    response = await _read(reader, parser)
    assert response is not None  # without a response h11 raises RemoteProtocolError
    return response


async def _read(reader: asyncio.StreamReader, parser: h11.Connection) -> Message | None:
    received = b""
    start: h11.Request | h11.Response | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(CHUNK)
            received += data
            parser.receive_data(data)
        elif isinstance(event, h11.ConnectionClosed):
            return None
        elif isinstance(event, h11.Request | h11.Response):
            start = event
        elif isinstance(event, h11.EndOfMessage):
            assert start is not None
            head, end, body = received.partition(b"\r\n\r\n")
            _, ended = parser.trailing_data  # True: the body ended with the connection
            closes = ended or parser.their_state is not h11.DONE
            return Message(start, head + end, body, closes)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with a RST."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


def _gateway(status: int, reason: str) -> bytes:
    page = f"<html><head><title>{status} {reason}</title></head></html>"
    return (
        f"HTTP/1.1 {status} {reason}\r\nserver: gateway\r\ncontent-type: text/html\r\n"
        f"content-length: {len(page)}\r\nconnection: close\r\n\r\n{page}"
    ).encode()


GATEWAY = {
    Fault.STATUS_502_APPLIED: _gateway(502, "Bad Gateway"),
    Fault.STATUS_504_APPLIED: _gateway(504, "Gateway Timeout"),
}
CANNED: dict[Fault | None, bytes] = {
    Fault.STATUS_502: GATEWAY[Fault.STATUS_502_APPLIED],
    Fault.STATUS_504: GATEWAY[Fault.STATUS_504_APPLIED],
    # uvicorn/protocols/http/flow_control.py, service_unavailable
    Fault.LIMIT_503: (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: 19\r\nconnection: close\r\n\r\nService Unavailable"
    ),
}
