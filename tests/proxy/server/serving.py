"""Servers as processes of their own, and callers that hide nothing of what the server does."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kato_consul.testing.ports import free_ports

ROOT = Path(__file__).parents[3]

ENDS_WITHIN = 60.0
"""Seconds after which a server or a caller counts as hung."""


CONNECTIONS = 60
"""Connections at a time of which each of a few sockets on a port gets some."""


@dataclass
class Server:
    """A running server; ``predecessor`` is the process whose sockets it has taken over."""

    process: "subprocess.Popen[str]"
    port: int
    predecessor: int | None = None

    def end(self, number: int = signal.SIGTERM) -> str:
        """Send a signal, wait for the end, and return what was printed."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> str:
        """Wait for the end, and return what was printed."""
        printed, _ = self.process.communicate(timeout=ENDS_WITHIN)
        return printed

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection without retries."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ENDS_WITHIN)

    def socket(self) -> socket.socket:
        """Return a connected socket."""
        return socket.create_connection(("127.0.0.1", self.port), ENDS_WITHIN)

    def accepts(self) -> bool:
        """Return whether the server accepts connections."""
        try:
            self.socket().close()
        except ConnectionRefusedError:
            return False
        return True

    def get(self, path: str, **headers: str) -> "Answer":
        """Send a GET request on a connection of its own."""
        return self.request("GET", path, None, **headers)

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> "Answer":
        """Send a request on a connection of its own; ``_`` in a header's name is ``-``."""
        connection = self.connection()
        try:
            named: dict[str, str] = {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            connection.request(method, path, body, named)
            return Answer.read(connection)
        finally:
            connection.close()


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    json: Any
    closes: bool

    @classmethod
    def read(cls, connection: http.client.HTTPConnection) -> "Answer":
        """Read the response to the request that was sent."""
        response = connection.getresponse()
        closes = response.will_close
        return cls(response.status, response.headers, json.loads(response.read()), closes)


@contextlib.contextmanager
def serving(
    application: str = "application",
    *,
    port: int | None = None,
    settings: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Server]:
    """Start a server, and wait until it serves; it has ended at the end of the block."""
    with started(application, port=port, settings=settings, env=env, **options) as server:
        assert server.process.stdout is not None
        hung = threading.Timer(ENDS_WITHIN, server.process.kill)
        hung.start()
        try:
            line = server.process.stdout.readline()
        finally:
            hung.cancel()
        assert line.startswith("ready"), line
        server.predecessor = int(line.split()[1]) if " " in line else None
        yield server


@contextlib.contextmanager
def started(
    application: str = "application",
    *,
    port: int | None = None,
    settings: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Server]:
    """Start a server, which may not come to serve."""
    port = port or free_ports(1)[0]
    given = {
        "application": application,
        "options": {"listen": f"127.0.0.1:{port}", "drain": 5.0, **options},
        "settings": {"session_directory": "consul", **(settings or {})},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.proxy.server.program", json.dumps(given, default=str)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Server(process, port)
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDS_WITHIN)
            process.kill()


@dataclass
class Callers:
    """Callers without retries, in threads: half of them keep their connections, the others open one
    for each request."""

    port: int
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def calling(self, count: int) -> Iterator["Callers"]:
        """Call during the block."""
        kinds = [self._keep_alive, self._connect_anew]
        self._threads = [threading.Thread(target=kinds[one % 2]) for one in range(count)]
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(ENDS_WITHIN)

    def _keep_alive(self) -> None:
        connection = None
        while not self._over.is_set():
            connection = connection or self._connection()
            if not self._call(connection):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _connect_anew(self) -> None:
        while not self._over.is_set():
            connection = self._connection()
            self._call(connection, connection_header="close")
            connection.close()

    def _call(
        self, connection: http.client.HTTPConnection, connection_header: str = "keep-alive"
    ) -> bool:
        """Return whether the connection may be used again."""
        try:
            connection.request("POST", "/echo", b"abc", {"connection": connection_header})
            answer = Answer.read(connection)
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self.failures.append(f"{connection_header}: {error!r}")
            return False
        with self._lock:
            if answer.status == 200 and answer.json["body"] == 3:
                self.answered += 1
            else:
                self.failures.append(f"{answer.status} {answer.json}")
        return not answer.closes

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ENDS_WITHIN)
