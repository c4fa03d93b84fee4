"""Handover of listening sockets to the next proxy on this machine.

Linux resets connections that are in the queue of a listening socket when it is closed, also if
other sockets listen on the same port (unless net.ipv4.tcp_migrate_req is set). The last accept can
be as near to the close as it will: a connection that arrives between the two is lost. So a proxy
that starts takes the sockets of the one that runs, as HAProxy does with ``expose-fd listeners``
(https://docs.haproxy.org/2.8/management.html#4). Both accept then, and when the older one ends, no
queue is closed.

The proxies meet at a unix socket in Linux's abstract namespace, which is named after the address
that they listen on and is of the same network namespace. Each checks that the other runs as the
same user. Where this does not work (another system, another user), the new proxy opens sockets
of its own.
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Sequence

from kato_consul._logging import logger
from kato_consul.proxy.server.listen_address import ListenAddress

MAX_SOCKETS = 250
"""File descriptors in one message: Linux' SCM_MAX_FD is 253."""

ANSWER_WITHIN = 2.0
"""Seconds to wait for the sockets: a proxy that is stopped does not give them."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group

log = logger("proxy")


def take_sockets(address: ListenAddress) -> tuple[list[socket.socket], socket.socket | None]:
    """Take the listening sockets of the proxy that serves an address.

    Returns:
        The sockets, and the connection to the proxy, which is closed when it ends. No sockets and
        None if there is no such proxy.
    """
    if sys.platform != "linux" or address.path:
        return [], None
    with contextlib.ExitStack() as on_error:
        connection = on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(_meeting_point(address))
            if not _is_own_user(connection):
                return [], None
            _, descriptors, _, _ = socket.recv_fds(connection, 1, MAX_SOCKETS)
        except OSError:
            return [], None
        sockets = [socket.socket(fileno=one) for one in descriptors]
        if not sockets:
            return [], None
        on_error.pop_all()
    return sockets, connection


class Handover:
    """Offers listening sockets to the next proxy, in a running event loop.

    Args:
        address: what the sockets listen on.
        sockets: the sockets.
        predecessor: the connection to the proxy that they were taken from. Until it is closed, that
            proxy is the one that offers its sockets.
    """

    def __init__(
        self,
        address: ListenAddress,
        sockets: Sequence[socket.socket],
        predecessor: socket.socket | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._sockets = sockets
        self._predecessor = predecessor
        self._offering: socket.socket | None = None
        self._successors: list[socket.socket] = []

    def start(self) -> None:
        """Offer the sockets from now on, or from the end of the predecessor on."""
        if sys.platform != "linux" or self._address.path:
            return
        if self._predecessor is None:
            self._offer()
        else:
            self._loop.add_reader(self._predecessor.fileno(), self._predecessor_ended)

    def end(self) -> None:
        """Stop to offer the sockets."""
        if self._predecessor is not None:
            self._loop.remove_reader(self._predecessor.fileno())
            self._predecessor.close()
        if self._offering is not None:
            self._loop.remove_reader(self._offering.fileno())
            self._offering.close()
        for one in self._successors:
            one.close()

    def _predecessor_ended(self) -> None:
        assert self._predecessor is not None
        self._loop.remove_reader(self._predecessor.fileno())
        self._predecessor.close()
        self._predecessor = None
        self._offer()

    def _offer(self) -> None:
        offering = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            offering.bind(_meeting_point(self._address))
            offering.listen()
        except OSError:  # another proxy serves the address, and offers its own
            offering.close()
            return
        offering.setblocking(False)
        self._offering = offering
        self._loop.add_reader(offering.fileno(), self._give)

    def _give(self) -> None:
        assert self._offering is not None
        try:
            successor, _ = self._offering.accept()
        except OSError:
            return
        try:
            if not _is_own_user(successor):
                successor.close()
                return
            socket.send_fds(successor, [b"."], [one.fileno() for one in self._sockets])
        except OSError:
            successor.close()
            return
        self._successors.append(successor)
        log.info("proxy.sockets_given", address=str(self._address))


def _meeting_point(address: ListenAddress) -> str:
    return f"\0kato-consul proxy {address}"


def _is_own_user(connection: socket.socket) -> bool:
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.geteuid())
