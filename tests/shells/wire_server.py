"""A raw TCP server whose behaviour on each connection is set by the test."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kato_consul.testing.ports import free_ports

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

Handler = Callable[["WireServer", socket.socket], None]
"""Serves one connection, which is closed when the handler returns."""


class WireServer:
    """Listens on 127.0.0.1. Each connection takes the next handler; the last one repeats."""

    def __init__(self, *handlers: Handler) -> None:
        self.handlers = list(handlers)
        self.connections = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self.ending = threading.Event()
        # Not port 0: the kernel may choose one that a test in another process still connects to.
        self._listener = socket.create_server(("127.0.0.1", free_ports(1)[0]))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)

    @property
    def origin(self) -> str:
        """The URL of the server, without a path."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def read(self, connection: socket.socket) -> bytes:
        """Read and record one whole request; return b"" if the client closed the connection."""
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
                    piece = connection.recv(65536)
                    if not piece:
                        return b""
                    body += piece
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
            handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
            thread = threading.Thread(target=self._serve, args=(handler, connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, handler: Handler, connection: socket.socket) -> None:
        connection.settimeout(10.0)
        with connection, contextlib.suppress(OSError):  # the client may have closed it already
            handler(self, connection)
        self.closed += 1


def respond_ok(server: WireServer, connection: socket.socket) -> None:
    """Respond to every request with 200 and ``{}``."""
    while server.read(connection):
        connection.sendall(OK)


def close_without_response(server: WireServer, connection: socket.socket) -> None:
    """Read the request and close the connection."""
    server.read(connection)


def reset_connection(server: WireServer, connection: socket.socket) -> None:
    """Read the request and reset the connection."""
    server.read(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def truncate_body(server: WireServer, connection: socket.socket) -> None:
    """Send a body shorter than its content-length, and close the connection."""
    server.read(connection)
    connection.sendall(OK[:-1])


def truncate_headers(server: WireServer, connection: socket.socket) -> None:
    """Close the connection in the middle of the headers."""
    server.read(connection)
    connection.sendall(OK[:20])


def never_respond(server: WireServer, connection: socket.socket) -> None:
    """Read the request, and send nothing until the server stops, for at most 10 s."""
    server.read(connection)
    server.ending.wait(10.0)


def trickle_forever(server: WireServer, connection: socket.socket) -> None:
    """Send the body one byte at a time until the server stops."""
    server.read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not server.ending.wait(0.05):
        connection.sendall(b"x")


def respond_non_http(server: WireServer, connection: socket.socket) -> None:
    """Respond with a line of another protocol (SMTP)."""
    server.read(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


def respond_500_and_close(server: WireServer, connection: socket.socket) -> None:
    """Respond with a 500 that does not announce the close after it, as uvicorn does."""
    server.read(connection)
    connection.sendall(
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\n"
        b"content-length: 21\r\n\r\nInternal Server Error"
    )
    server.ending.wait(0.2)
