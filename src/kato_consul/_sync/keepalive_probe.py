"""Does a server close an idle connection before we would? Found out by keeping one idle.

Below HTTP's own libraries, since they hide just this.
"""

import selectors
import socket
import time
from collections.abc import Mapping

ANSWER_WITHIN = 5.0
"""Seconds for the connection and the answer."""


def closed_while_idle(places: Mapping[str, tuple[str, int]], seconds: float) -> dict[str, bool]:
    """Make a request to each place (host and port), leave the connection idle for ``seconds``, all
    at once; which of them closed it? Places that do not answer are left out."""
    waiting: list[socket.socket] = []
    closed: dict[str, bool] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for name, (host, port) in places.items():
                if (connection := _asked(host, port)) is not None:
                    waiting.append(connection)
                    closed[name] = False
                    selector.register(connection, selectors.EVENT_READ, name)
            until = time.monotonic() + seconds
            while len(selector.get_map()) and (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    closed[key.data] = True
                    selector.unregister(key.fileobj)
        finally:
            for connection in waiting:
                connection.close()
    return closed


def _asked(host: str, port: int) -> socket.socket | None:
    """A connection on which one request was answered."""
    try:
        connection = socket.create_connection((host, port), ANSWER_WITHIN)
    except OSError:
        return None
    name = f"[{host}]" if ":" in host else host
    try:
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer) < _length(answer):
            more = connection.recv(65_536)
            if not more:
                connection.close()
                return None
            answer += more
    except OSError:
        connection.close()
        return None
    return connection


def _length(answer: bytes) -> int:
    """How long the whole answer is, by its headers."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return len(head) + 4 + (lengths[0] if lengths else 0)
