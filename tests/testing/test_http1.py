"""The fault proxy's HTTP/1.1 reader: finds the end of a message and returns its bytes unchanged."""

import asyncio

import h11
import pytest

from kato_consul.testing.http1 import Message, read_request, read_response

GET = b"GET /x HTTP/1.1\r\nHost: k\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0\r\nT: v\r\n\r\n"


def request(received: bytes) -> Message | None:
    """Return the request that the reader finds."""

    async def read() -> Message | None:
        return await read_request(fed(received))

    return asyncio.run(read())


def response(received: bytes, method: bytes = b"GET") -> Message:
    """Return the response to a request with this method."""

    async def read() -> Message:
        sent = await read_request(fed(GET.replace(b"GET", method)))
        assert sent is not None
        return await read_response(fed(received), sent)

    return asyncio.run(read())


def fed(received: bytes) -> asyncio.StreamReader:
    """Return a stream with these bytes and their end."""
    reader = asyncio.StreamReader()
    reader.feed_data(received)
    reader.feed_eof()
    return reader


@pytest.mark.parametrize(
    ("received", "body", "closes"),
    [
        (GET, b"", False),
        (b"POST /x HTTP/1.1\r\nHost: k\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"GET /x HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n", b"", True),
    ],
)
def test_request(received: bytes, body: bytes, *, closes: bool) -> None:
    """A request ends after its body; `Connection: close` ends the connection."""
    message = request(received)
    assert message is not None
    assert (message.head + message.body, message.body) == (received, body)
    assert message.closes is closes


@pytest.mark.parametrize(
    ("received", "method", "body", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"GET", b"{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", b"", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", b"", False),
        (CHUNKED, b"GET", b"2;a=b\r\nab\r\n0\r\nT: v\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"GET", b"until the end", True),
    ],
)
def test_response(received: bytes, method: bytes, body: bytes, *, closes: bool) -> None:
    """A response ends after its length, its last chunk or its head, or with the connection."""
    message = response(received, method)
    assert (message.head + message.body, message.body) == (received, body)
    assert message.closes is closes


def test_closed_connection() -> None:
    """A caller may close between requests. An instance that closes without a response fails."""
    assert request(b"") is None
    for received in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"):
        with pytest.raises(h11.RemoteProtocolError):
            response(received)
