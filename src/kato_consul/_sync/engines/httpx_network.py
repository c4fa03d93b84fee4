"""Network of the httpx transports for threads: how they connect, and deadlines.

httpcore's own connects to the addresses of a host one after the other, each with the whole timeout.
And its timeouts are for each read, so that a response that trickles has no limit.
"""

import contextlib
import math
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from kato_consul._sync.engines.connecting import connect_tcp, connect_unix


class Deadline(float):
    """A timeout of httpx that is a time on the monotonic clock, and not seconds for each read.

    ``each`` is how many seconds one operation may take in addition.
    """

    each: float

    def __new__(cls, at: float, each: float = math.inf) -> "Deadline":
        deadline = super().__new__(cls, at)
        deadline.each = each
        return deadline


def new_transport(**options: Any) -> httpx.HTTPTransport:
    """Return httpx's transport with these options, on the network of this module."""
    transport = httpx.HTTPTransport(**options)
    # httpx has no parameter for it; httpcore, whose pool this is, has.
    transport._pool._network_backend = _NetworkBackend()
    return transport


def time_limit(seconds: float) -> contextlib.AbstractContextManager[None]:
    """Do nothing: nothing can end a thread's block. Its operations have a `limited_timeout`."""
    return contextlib.nullcontext()


def limited_timeout(each: float, together: float) -> float:
    """Return a timeout of httpx for each operation that also limits all of them together.

    Args:
        each: Seconds for one operation.
        together: Seconds for all operations, from now on.
    """
    return Deadline(time.monotonic() + together, each)


class _NetworkBackend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with _connect_errors():
            connected = connect_tcp(host, port, 3_600.0 if timeout is None else timeout)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in socket_options or ():
            connected.setsockopt(*option)
        return _Stream(connected)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        with _connect_errors():
            return _Stream(connect_unix(path, timeout))


class _Stream(httpcore.NetworkStream):
    """A connected socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(_seconds(timeout))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        try:
            while rest:
                self._socket.settimeout(_seconds(timeout))
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            with _connect_errors():
                self._socket.settimeout(_seconds(timeout))
                return _Stream(
                    ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
                )
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "socket":
                return self._socket
            case "is_readable":
                if self._socket.fileno() < 0:
                    return True  # closed: as httpcore's own streams
                readable = select.poll()
                readable.register(self._socket, select.POLLIN)
                return bool(readable.poll(0))
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "ssl_object" if isinstance(self._socket, ssl.SSLSocket):
                return self._socket
        return None


@contextlib.contextmanager
def _connect_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


def _seconds(timeout: float | None) -> float | None:
    """Return the seconds that are left of a timeout.

    Raises:
        TimeoutError: the deadline has passed.
    """
    if not isinstance(timeout, Deadline):
        return timeout
    seconds = timeout - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no complete response in time")
    return min(seconds, timeout.each)
