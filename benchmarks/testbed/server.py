"""Fast test server: ``python -m benchmarks.testbed.server PORT``.

It parses as little HTTP as possible, so that it never limits a measurement.
"""

import asyncio
import sys

from benchmarks.testbed.kato_responses import PreparedKato, as_http

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One connection. Requests may arrive in pieces, or several at once."""

    def __init__(self, kato: PreparedKato) -> None:
        self._kato = kato
        self._buffer = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer, start, responses = self._buffer + data, 0, []
        while (end := buffer.find(END_OF_HEAD, start)) >= 0:
            head = buffer[start:end]
            header = head.lower().find(LENGTH)
            length = 0
            if header >= 0:
                length = int(head[header + len(LENGTH) :].split(b"\r\n", 1)[0])
            if len(buffer) < (next_start := end + len(END_OF_HEAD) + length):
                break
            responses.append(as_http(self._kato.body(head.split(b" ", 2)[1].decode())))
            start = next_start
        self._buffer = buffer[start:]
        if responses:
            self._transport.write(b"".join(responses))


async def main(port: int) -> None:
    """Serve until the process ends."""
    kato = PreparedKato(port)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(kato), "127.0.0.1", port, backlog=1_000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
