"""The default engine for threads: plain sockets, with llhttp as the parser.

Sending starts at one point of `_Connection.exchange`: before it nothing is sent, from it on the
request counts as sent. An idle connection is checked just before. If the server has closed it, or
has sent data without a request, it is not used.
"""

import contextlib
import select
import socket
import ssl
import time
import weakref

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http.endpoint import Endpoint, Endpoints
from kato_consul._http.http1 import HttpError, ResponseParser, request_bytes
from kato_consul._sync.engines.connecting import connect_tcp, connect_unix
from kato_consul.settings import Settings

READ_SIZE = 65_536
"""Bytes in one read. Linux initially buffers about twice that for a reader (tcp_rmem)."""

SENT_AT_ONCE = 65_536
"""Bytes of a request that are sent without waiting for an early answer: the socket buffers them."""


class HttptoolsEngine:
    """The `Engine` of the setting ``engine="httptools"``.

    Threads share only dicts and lists, whose single operations are atomic. Only its users and the
    idle list keep a connection: one that an interrupt took from both is closed at once.
    """

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._closed = False
        self._pools: dict[str, _ConnectionPool] = {}
        self._open: weakref.WeakValueDictionary[int, _Connection] = weakref.WeakValueDictionary()
        self._last_sweep = time.monotonic()

    def send(self, step: Send) -> Outcome:
        """Carry out one step. If interrupted, close the connection."""
        started = time.monotonic()
        pool = self._pools.get(step.origin)
        try:
            if pool is None:
                new = _ConnectionPool(self._endpoints.of(step.origin))
                pool = self._pools.setdefault(step.origin, new)
            request = request_bytes(step, pool.endpoint)
        except (ValueError, OSError) as error:
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
        if started - self._last_sweep > self._settings.keepalive:
            self._sweep(started)
        connection = self._acquire(pool, started)
        if connection is None:
            timeout = min(self._settings.connect_timeout, step.timeout)
            try:
                connection = _Connection(_connect(pool.endpoint, timeout))
            except (OSError, ValueError, OverflowError) as error:  # also a bad name or port
                detail = str(error) or type(error).__name__
                failure = Failure(Cause.CONNECT, bytes_sent=False, detail=detail, error=error)
                return pool.endpoint.checked(failure)
            self._open[id(connection)] = connection
        reuse = False
        try:
            if self._closed:
                closed = ConnectionError("this client is closed")
                return Failure(Cause.CONNECT, bytes_sent=False, detail=str(closed), error=closed)
            outcome = connection.exchange(request, started + step.timeout)
            reuse = connection.reusable and not pool.retired
        finally:
            if reuse:
                connection.last_used = time.monotonic()
                pool.idle.append(connection)
            else:
                connection.close()
        if pool.retired:  # it may have been retired during this exchange
            self._close_idle(pool)
        return pool.endpoint.checked(outcome)

    def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retired = True
            self._close_idle(pool)

    def interrupt(self) -> None:
        """Stop permanently: requests in flight fail as cut, and new ones are not sent."""
        self._closed = True
        # Closing a socket does not wake a thread that reads from it; a shutdown does.
        for connection in self._open_connections():
            connection.shut_down()

    def close(self) -> None:
        """Close every idle connection."""
        self.interrupt()
        for pool in tuple(self._pools.values()):
            pool.retired = True
            self._close_idle(pool)

    def reset_after_fork(self) -> None:
        """In a forked child, drop the parent's connections without sending anything on them."""
        for connection in self._open_connections():
            connection.close()
        self._open = weakref.WeakValueDictionary()
        self._pools = {}

    def _acquire(self, pool: "_ConnectionPool", now: float) -> "_Connection | None":
        """Return an idle connection that can carry a request now: the one that was used last."""
        oldest = now - self._settings.keepalive
        with contextlib.suppress(IndexError):
            while True:
                connection = pool.idle.pop()
                if connection.last_used > oldest and connection.is_idle():
                    return connection
                connection.close()
        return None

    def _sweep(self, now: float) -> None:
        """Close connections that were idle for ``keepalive`` seconds."""
        self._last_sweep = now
        oldest = now - self._settings.keepalive
        for pool in tuple(self._pools.values()):
            for connection in tuple(pool.idle):
                if connection.last_used <= oldest:
                    with contextlib.suppress(ValueError):  # another thread acquired it just now
                        pool.idle.remove(connection)
                        connection.close()

    def _close_idle(self, pool: "_ConnectionPool") -> None:
        with contextlib.suppress(IndexError):
            while True:
                pool.idle.pop().close()

    def _open_connections(self) -> list["_Connection"]:
        references = self._open.valuerefs()  # one operation, unlike iterating
        return [found for reference in references if (found := reference()) is not None]


class _ConnectionPool:
    """The idle connections to one origin, ordered by their last use."""

    __slots__ = ("endpoint", "idle", "retired")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.idle: list[_Connection] = []
        self.retired = False


class _Connection:
    """One connection, which carries one request at a time."""

    __slots__ = ("__weakref__", "_answered_early", "_parser", "_readable", "_socket", "last_used")

    def __init__(self, connected: socket.socket) -> None:
        self.last_used = 0.0
        self._socket = connected
        self._answered_early = False
        self._parser = ResponseParser()
        self._readable = select.poll()
        self._readable.register(connected, select.POLLIN)

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another request."""
        return self._parser.complete and self._parser.reusable and not self._answered_early

    def is_idle(self) -> bool:
        """Return whether the server has neither closed the connection nor sent anything."""
        return not self._readable.poll(0)

    def exchange(self, request: bytes, deadline: float) -> Outcome:
        """Send a request and wait for its response until ``deadline`` on the monotonic clock."""
        parser, connected = self._parser, self._socket
        parser.start_response(request)
        lost: OSError | None = None
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            expired = TimeoutError("the timeout expired while connecting")
            return Failure(Cause.TIMEOUT, bytes_sent=False, detail=str(expired), error=expired)
        try:
            connected.settimeout(remaining)
            try:
                if len(request) <= SENT_AT_ONCE or isinstance(connected, ssl.SSLSocket):
                    connected.sendall(request)
                else:
                    self._send_in_parts(request, deadline)
            except ConnectionError as error:
                lost = error  # the server may have answered before it closed the connection
            while not parser.complete:
                # Each read may take only the remaining time: a response may trickle.
                connected.settimeout(_remaining(deadline))
                self._receive()
        except TimeoutError as error:
            return Failure(Cause.TIMEOUT, bytes_sent=True, detail=str(error), error=error)
        except OSError as error:
            lost = lost or error
            detail = str(lost) or type(lost).__name__
            return Failure(Cause.CUT, bytes_sent=True, detail=detail, error=lost)
        except HttpError as error:
            return Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error)
        return parser.reply()

    def _receive(self) -> None:
        """Read and parse what has been received, and wait for it if there is nothing.

        Raises:
            OSError, HttpError: the connection was closed before the end of the response, or what
                was received is not HTTP.
        """
        data = self._socket.recv(READ_SIZE)
        if data:
            self._parser.feed(data)
        elif not self._parser.end_of_stream():
            raise ConnectionError("the server closed the connection")

    def _send_in_parts(self, request: bytes, deadline: float) -> None:
        """Send a long request, until the server has answered: it may refuse the rest."""
        rest = memoryview(request)
        ready = select.poll()
        ready.register(self._socket, select.POLLIN | select.POLLOUT)
        while rest:
            events = ready.poll(1_000 * _remaining(deadline))
            if any(event & select.POLLIN for _, event in events):
                self._receive()
                if self._parser.complete:
                    self._answered_early = True
                    return
            elif events:
                rest = rest[self._socket.send(rest) :]

    def shut_down(self) -> None:
        """Wake a thread that reads from the connection."""
        # The base class's method: a TLS socket's own would send a close_notify first.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, on TLS without a close_notify."""
        self._socket.close()

    def __del__(self) -> None:
        self._socket.close()


def _connect(endpoint: Endpoint, timeout: float) -> socket.socket:
    """Return a connected socket.

    Raises:
        OSError, ValueError, OverflowError: the connection failed.
    """
    if endpoint.path:
        return connect_unix(endpoint.path, timeout)
    deadline = time.monotonic() + timeout
    connected = connect_tcp(endpoint.address, endpoint.port, timeout)
    try:
        connected.settimeout(_remaining(deadline))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.tls is None:
            return connected
        return endpoint.tls.wrap_socket(connected, server_hostname=endpoint.server_name)
    except BaseException:
        connected.close()
        raise


def _remaining(deadline: float) -> float:
    """Return the seconds until ``deadline``, above 0.

    Raises:
        TimeoutError: it has passed.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("no complete response in time")
    return remaining
