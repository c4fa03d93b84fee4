"""An instance that answers at once: ``python -m benchmarks.server PORT``. It knows no HTTP beyond
what it must, so that it is never what a measurement waits for."""

import asyncio
import sys

from benchmarks.canned import Kato, on_the_wire

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


class Answering(asyncio.Protocol):
    """One connection. Requests may come in pieces, or several at once."""

    def __init__(self, kato: Kato) -> None:
        self._kato = kato
        self._came = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        came, at, answers = self._came + data, 0, []
        while (end := came.find(END_OF_HEAD, at)) >= 0:
            head = came[at:end]
            found = head.lower().find(LENGTH)
            length = int(head[found + len(LENGTH) :].split(b"\r\n", 1)[0]) if found >= 0 else 0
            if len(came) < (after := end + len(END_OF_HEAD) + length):
                break
            answers.append(on_the_wire(self._kato.body(head.split(b" ", 2)[1].decode())))
            at = after
        self._came = came[at:]
        if answers:
            self._transport.write(b"".join(answers))


async def main(port: int) -> None:
    """Serve until the process ends."""
    kato = Kato(port)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(kato), "127.0.0.1", port, backlog=1_000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
