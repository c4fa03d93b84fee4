"""HTTP/1.1 as httpx and uvicorn speak it, whole messages at a time: what the fault proxy passes on.

No pipelining, no upgrades, no ``Expect: 100-continue``.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

from kato_consul.testing.fault_plan import Fault

LIMIT = 2**20  # bytes of a head
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close at once, which sends a RST


@dataclass(frozen=True, slots=True)
class Message:
    """A whole request or answer, as it came; the head has its empty line."""

    head: bytes
    body: bytes
    closes: bool

    def with_close(self) -> bytes:
        lines = [line for line in self.head.split(b"\r\n") if line]
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"connection: close", b"", self.body])

    def half(self) -> bytes:
        whole = self.head + self.body
        return whole[: len(self.head) + len(self.body) // 2 if self.body else len(whole) // 2]


class Upstream:
    """One connection to the instance, made at need and kept as long as the caller's."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Message) -> Message:
        """The instance's answer.

        Raises:
            OSError, EOFError: there is none.
        """
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=LIMIT)
        reader, writer = self._streams
        writer.write(request.head + request.body)
        answer = await read_message(
            reader, of_answer=True, to_head=request.head.startswith(b"HEAD ")
        )
        if answer is None:
            raise EOFError("the instance closed the connection")
        if answer.closes:
            self.close()
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def read_message(
    reader: asyncio.StreamReader, *, of_answer: bool, to_head: bool = False
) -> Message | None:
    """One message; None when the other side ended instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(":", 1) for line in lines if ":" in line)
    closes = "close" in headers.get("connection", "")
    bodiless = to_head or (of_answer and first.split(" ")[1] in ("204", "304"))
    if bodiless:
        body = b""
    elif "chunked" in headers.get("transfer-encoding", ""):
        body = await _chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read() if of_answer else b""
        closes = closes or of_answer
    return Message(head, body, closes)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it comes, trailers and all."""
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        body += size
        if int(size.split(b";")[0], 16) == 0:
            break
        body += await reader.readexactly(int(size.split(b";")[0], 16) + 2)
    while body[-4:] != b"\r\n\r\n":
        body += await reader.readuntil(b"\r\n")
    return body


def reset(writer: asyncio.StreamWriter) -> None:
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
