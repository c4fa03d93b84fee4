"""Capacity of the test servers alone: pipelined requests, responses only counted."""

import asyncio
import time
from urllib.parse import urlsplit

from benchmarks.testbed.kato_responses import BODY

PIPELINED = 64
"""Requests per write: few enough for the socket buffers, enough to hide the round trip."""
REQUEST = (
    b"POST /sessions/flood/observe HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
STATUS_LINE = b"HTTP/1.1 200 OK"


async def measure_capacity(urls: list[str], seconds: float) -> float:
    """Return responses per second of all servers together."""
    until = time.perf_counter() + seconds
    started = time.perf_counter()
    counts = await asyncio.gather(*(_count_responses(url, until) for url in urls))
    return sum(counts) / (time.perf_counter() - started)


async def _count_responses(url: str, until: float) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    total = 0
    while time.perf_counter() < until:
        writer.write(REQUEST * PIPELINED)
        responses = 0
        tail = b""
        while responses < PIPELINED:
            data = await reader.read(1 << 16)
            assert data, "the server closed the connection"
            data = tail + data
            responses += data.count(STATUS_LINE)
            tail = data[1 - len(STATUS_LINE) :]  # a status line may be split between two reads
        total += responses
        while not tail.endswith(b"}"):  # the last body
            tail = await reader.read(1 << 16)
    writer.close()
    await writer.wait_closed()
    return total
