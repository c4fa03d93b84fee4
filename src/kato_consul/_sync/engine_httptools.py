"""The default engine: plain sockets, and llhttp for the answers.

``sendall`` is the one line at which a request leaves. Before it: not sent. From it on: sent,
whatever happens. A kept connection is looked at just before: one that the server closed, or spoke
on unasked, takes no request.
"""

import contextlib
import select
import socket
import ssl
import time

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http.endpoint import Endpoint, endpoint_for
from kato_consul._http.http1 import HttpError, ResponseParser, request_bytes
from kato_consul.settings import Settings

PIECE = 65_536
"""Bytes read at once: Linux has about twice that waiting for a reader at first (tcp_rmem)."""


class HttptoolsEngine:
    """An `Engine`. What threads share are sets, dicts and lists, whose single steps are atomic."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._tls = tls
        self._closed = False
        self._pools: dict[str, _Pool] = {}
        self._open: set[_Connection] = set()
        self._swept = time.monotonic()

    def send(self, step: Send) -> Outcome:
        """Carry out one step. Interrupted, it drops the connection."""
        began = time.monotonic()
        pool = self._pools.get(step.origin)
        if pool is None:
            made = _Pool(endpoint_for(step.origin, self._settings, self._tls))
            pool = self._pools.setdefault(step.origin, made)
        try:
            request = request_bytes(step, pool.where.host)
        except ValueError as error:
            return Failure(Cause.PROTOCOL, bytes_sent=False, detail=str(error), error=error)
        if began - self._swept > self._settings.keepalive:
            self._sweep(began)
        connection = self._kept(pool, began)
        if connection is None:
            within = min(self._settings.connect_timeout, step.timeout)
            try:
                connection = _Connection(_connected(pool.where, within))
            except (OSError, UnicodeError) as error:  # a timeout, TLS's, the resolver's; the name
                detail = str(error) or type(error).__name__
                return Failure(Cause.CONNECT, bytes_sent=False, detail=detail, error=error)
            self._open.add(connection)
        stays = False
        try:
            if self._closed:
                return Failure(Cause.CONNECT, bytes_sent=False, detail="this client is closed")
            outcome = connection.exchange(request, began + step.timeout)
            stays = connection.reusable and not pool.retired
        finally:
            if stays:
                connection.last_used = time.monotonic()
                pool.kept.append(connection)
            else:
                self._drop(connection)
        if pool.retired:  # while this was under way, perhaps just now
            self._empty(pool)
        return outcome

    def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retired = True
            self._empty(pool)

    def interrupt(self) -> None:
        """End for good: requests in flight fail as cut, and new ones are not sent."""
        self._closed = True
        # Closing a socket does not wake a thread that reads from it; shutting it down does.
        for connection in tuple(self._open):
            connection.shut()

    def close(self) -> None:
        """Close every connection that is kept."""
        self.interrupt()
        for pool in tuple(self._pools.values()):
            pool.retired = True
            self._empty(pool)

    def reset_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections without a word to the server."""
        for connection in tuple(self._open):
            connection.close()
        self._open = set()
        self._pools = {}

    def _kept(self, pool: "_Pool", now: float) -> "_Connection | None":
        """A kept connection that can take a request now. The one used last is used first."""
        oldest = now - self._settings.keepalive
        with contextlib.suppress(IndexError):
            while True:
                connection = pool.kept.pop()
                if connection.last_used > oldest and connection.is_quiet():
                    return connection
                self._drop(connection)
        return None

    def _sweep(self, now: float) -> None:
        """Drop who was not used for ``keepalive`` seconds."""
        self._swept = now
        oldest = now - self._settings.keepalive
        for pool in tuple(self._pools.values()):
            for connection in tuple(pool.kept):
                if connection.last_used <= oldest:
                    with contextlib.suppress(ValueError):  # another thread took it just now
                        pool.kept.remove(connection)
                        self._drop(connection)

    def _empty(self, pool: "_Pool") -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._drop(pool.kept.pop())

    def _drop(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        connection.close()


class _Pool:
    """The connections to one origin that are kept, by the time of their last use."""

    __slots__ = ("kept", "retired", "where")

    def __init__(self, where: Endpoint) -> None:
        self.where = where
        self.kept: list[_Connection] = []
        self.retired = False


class _Connection:
    """One connection, which carries one request at a time."""

    __slots__ = ("_answers", "_arrived", "_socket", "last_used")

    def __init__(self, connected: socket.socket) -> None:
        self.last_used = 0.0
        self._socket = connected
        self._answers = ResponseParser()
        self._arrived = select.poll()
        self._arrived.register(connected, select.POLLIN)

    @property
    def reusable(self) -> bool:
        """May it take another request?"""
        return self._answers.complete and self._answers.reusable

    def is_quiet(self) -> bool:
        """Has the other side neither closed it nor said anything?"""
        return not self._arrived.poll(0)

    def exchange(self, request: bytes, until: float) -> Outcome:
        """Send a request and wait for what comes until then, by the monotonic clock."""
        answers, connected = self._answers, self._socket
        answers.start_response()
        try:
            left = until - time.monotonic()
            if left <= 0:
                return Failure(
                    Cause.TIMEOUT, bytes_sent=False, detail="connecting took all the time"
                )
            connected.settimeout(left)
            connected.sendall(request)
            while not answers.complete:
                # Each read is bounded by what is left of the whole: an answer that trickles too.
                left = until - time.monotonic()
                if left <= 0:
                    return Failure(Cause.TIMEOUT, bytes_sent=True, detail="no whole answer")
                connected.settimeout(left)
                piece = connected.recv(PIECE)
                if piece:
                    answers.feed(piece)
                elif not answers.end_of_stream():
                    return Failure(
                        Cause.CUT, bytes_sent=True, detail="the server closed the connection"
                    )
        except TimeoutError as error:
            return Failure(Cause.TIMEOUT, bytes_sent=True, detail="no answer", error=error)
        except OSError as error:
            detail = str(error) or type(error).__name__
            return Failure(Cause.CUT, bytes_sent=True, detail=detail, error=error)
        except HttpError as error:
            return Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error)
        return answers.reply()

    def shut(self) -> None:
        """Wake who reads from it."""
        # The base class's method, since a TLS socket's own would say goodbye first.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. On TLS too this says nothing to the other side."""
        self._socket.close()


def _connected(where: Endpoint, within: float) -> socket.socket:
    """A socket that stands.

    Raises:
        OSError, UnicodeError: it could not be made.
    """
    if where.path:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(within)
            made.connect(where.path)
        except BaseException:
            made.close()
            raise
        return made
    made = socket.create_connection((where.address, where.port), within)
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if where.tls is None:
            return made
        return where.tls.wrap_socket(made, server_hostname=where.server_name)
    except BaseException:
        made.close()
        raise
