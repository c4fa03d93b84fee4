"""Accepting of connections, up to the last one that has reached a listening socket."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ssl import SSLContext, SSLError
from typing import Any

from kato_consul._logging import logger
from kato_consul.proxy.server.measuring import Meter, Rejection
from kato_consul.proxy.server.refusals import closing_response

ACCEPTED_AT_ONCE = 32
"""Connections that are accepted before others are served again."""

PAUSE_WITHOUT_DESCRIPTORS = 0.25
"""Seconds until the next attempt while the process has no file descriptor left."""

STOPPED_WITHIN = 1.0
"""Seconds for which connections that keep coming are accepted at the end."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logger("proxy")


class Acceptor:
    """Accepts the connections of listening sockets.

    asyncio's own server would do, but for its end: it closes a socket whose queue may hold
    connections, which the kernel then resets.

    Args:
        sockets: they listen, and are closed by `stop`.
        protocol: makes the protocol of a connection.
        tls: for https.
        handshake_within: seconds that a TLS handshake may take.
        meter: counts handshakes that failed, but not those that their callers broke off.
        admit: asked before each connection is served; False closes it.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        tls: SSLContext | None,
        handshake_within: float,
        meter: Meter,
        admit: Callable[[], bool],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._protocol = protocol
        self._tls = tls
        self._handshake_within = handshake_within
        self._meter = meter
        self._admit = admit
        self._exhausted = False
        self._accepting: set[socket.socket] = set()
        self.opening: set[asyncio.Task[Any]] = set()
        """Connections whose protocol does not have them yet, such as TLS handshakes."""

    def accept_from(self, sockets: Iterable[socket.socket]) -> None:
        """Accept the connections of these sockets from now on, and leave others in their queues.

        Args:
            sockets: some of the listening sockets.
        """
        before, self._accepting = self._accepting, {*sockets}
        for one in before - self._accepting:
            self._loop.remove_reader(one.fileno())
        for one in self._accepting - before:
            self._loop.add_reader(one.fileno(), self._accept, one)

    def stop(self) -> None:
        """Accept what has reached any of the sockets, and close them.

        Linux resets the connections that are in the queue of a socket when it is closed, unless
        another process has the socket, too. So nothing is between the last accept, which finds the
        queue empty, and the close.
        """
        until = self._loop.time() + STOPPED_WITHIN
        self.accept_from([])
        for one in self._sockets:
            while self._accept_one(one) and self._loop.time() < until:
                pass
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Accept a connection; return False if there is none."""
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                # The error of one connection, as Linux reports it here: see accept(2).
                return True
            self._pause(listening, error)
            return False
        self._exhausted = False
        if not self._admit():
            connection.close()
            return True
        connection.setblocking(False)
        spare = None
        if self._tls:
            # To answer what is no TLS: asyncio closes its own without a word.
            with contextlib.suppress(OSError):  # no file descriptor left
                spare = connection.dup()
        opened = self._loop.connect_accepted_socket(
            self._protocol,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_within if self._tls else None,
        )
        opening = self._loop.create_task(opened)
        self.opening.add(opening)
        opening.add_done_callback(partial(self._opened, spare))
        return True

    def _opened(self, spare: socket.socket | None, opening: asyncio.Task[Any]) -> None:
        self.opening.discard(opening)
        # Of a TLS handshake: the connection is closed.
        error = None if opening.cancelled() else opening.exception()
        if isinstance(error, SSLError | ConnectionAbortedError):  # the latter: it took too long
            self._meter.rejected(Rejection.HANDSHAKE)
        if spare is None:
            return
        with spare:
            if isinstance(error, SSLError) and error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    spare.send(closing_response(400, "this port serves https, and not http"))

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        if not self._exhausted:
            log.warning("proxy.not_accepting", why=error.strerror)
        self._exhausted = True
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(PAUSE_WITHOUT_DESCRIPTORS, partial(self._resume, listening))

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._accepting:  # still
            self._loop.add_reader(listening.fileno(), self._accept, listening)
