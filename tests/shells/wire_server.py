"""A server that does to a connection exactly what a test says."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

Act = Callable[["WireServer", socket.socket], None]
"""What to do with one request of a connection; the connection is closed when it returns."""


class WireServer:
    """Serves on 127.0.0.1; ``acts`` are used up, one for each connection, the last one again."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.connections = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self.ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)

    @property
    def origin(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def read(self, connection: socket.socket) -> bytes:
        """One whole request; empty when the other side closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.split(b":")[1]):
                    body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
            thread = threading.Thread(target=self._serve, args=(act, connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, act: Act, connection: socket.socket) -> None:
        connection.settimeout(10.0)
        with connection, contextlib.suppress(OSError):  # the other side may be faster
            act(self, connection)
        self.closed += 1


def answer(server: WireServer, connection: socket.socket) -> None:
    """Answers every request of the connection."""
    while server.read(connection):
        connection.sendall(OK)


def cut_at_once(server: WireServer, connection: socket.socket) -> None:
    """Reads the request and closes without a word."""
    server.read(connection)


def reset(server: WireServer, connection: socket.socket) -> None:
    """Reads the request and resets the connection."""
    server.read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_an_answer(server: WireServer, connection: socket.socket) -> None:
    """Answers less than it promised."""
    server.read(connection)
    connection.sendall(OK[:-1])


def half_a_head(server: WireServer, connection: socket.socket) -> None:
    """Closes in the middle of the headers."""
    server.read(connection)
    connection.sendall(OK[:20])


def silence(server: WireServer, connection: socket.socket) -> None:
    """Reads the request and says nothing until the test is over."""
    server.read(connection)
    server.ending.wait(10.0)


def trickle(server: WireServer, connection: socket.socket) -> None:
    """Answers a byte at a time, forever."""
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not server.ending.wait(0.05):
        connection.sendall(b"x")


def no_http(server: WireServer, connection: socket.socket) -> None:
    """Answers in another language."""
    server.read(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def fails_and_closes(server: WireServer, connection: socket.socket) -> None:
    """A 500 that does not say that the connection is closed after it, as uvicorn's."""
    server.read(connection)
    connection.sendall(
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\n"
        b"content-length: 21\r\n\r\nInternal Server Error"
    )
    server.ending.wait(0.2)
