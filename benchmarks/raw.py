"""What the answering servers can do: requests as bytes, many at once, and answers only counted."""

import asyncio
import time
from urllib.parse import urlsplit

from benchmarks.canned import BODY

AT_ONCE = 64
"""Requests in a piece: few enough for the sockets' buffers, enough to hide the way there."""
REQUEST = (
    b"POST /sessions/flood/observe HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


async def flood(urls: list[str], seconds: float) -> float:
    """Answers a second of all of them together."""
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    counts = await asyncio.gather(*(_flood_one(url, until) for url in urls))
    return sum(counts) / (time.perf_counter() - began)


async def _flood_one(url: str, until: float) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answered = 0
    while time.perf_counter() < until:
        writer.write(REQUEST * AT_ONCE)
        heads = 0
        tail = b""
        while heads < AT_ONCE:
            piece = await reader.read(1 << 16)
            assert piece, "the server closed the connection"
            seen = tail + piece
            heads += seen.count(b"HTTP/1.1 200 OK")
            tail = seen[-14:]  # a head's first line may come in two pieces
        answered += heads
        while not tail.endswith(b"}"):  # the last body
            tail = await reader.read(1 << 16)
    writer.close()
    await writer.wait_closed()
    return answered
