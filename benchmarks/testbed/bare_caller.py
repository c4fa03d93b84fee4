"""Bare caller: a keep-alive HTTP connection that parses no more of a response than its length.

So that the caller costs as little as possible beside what is measured.
"""

import asyncio
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


class BareCaller(asyncio.Protocol):
    """One connection, which makes one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.WriteTransport

    @classmethod
    async def connect(cls, url: str) -> "BareCaller":
        """Connect to the server of a base URL."""
        host, port = urlsplit(url).netloc.split(":")
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(cls, host, int(port))
        return caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(END_OF_HEAD)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head[head.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + len(END_OF_HEAD) + length:
            return
        answer, self._buffer = self._buffer, b""
        assert self._answer is not None
        if answer.startswith(b"HTTP/1.1 200"):
            self._answer.set_result(answer[end + len(END_OF_HEAD) :])
        else:
            self._answer.set_exception(RuntimeError(answer.decode("latin-1")))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    async def post(self, path: str, body: bytes) -> bytes:
        """Make a request, and return the body of its 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST %b HTTP/1.1\r\nhost: kato\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
        )
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()
