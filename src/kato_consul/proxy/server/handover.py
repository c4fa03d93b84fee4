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
from typing import NamedTuple

from kato_consul._logging import logger
from kato_consul.proxy.server.listen_address import ListenAddress

MAX_SOCKETS = 250
"""File descriptors in one message: Linux' SCM_MAX_FD is 253."""

ANSWER_WITHIN = 2.0
"""Seconds to wait for the sockets: a proxy that is stopped does not give them."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group

log = logger("proxy")


class Predecessor(NamedTuple):
    """The proxy that served the address before.

    Attributes:
        pid: its process, 0 if that is in a PID namespace that is not visible from here.
        connection: is closed when it ends.
    """

    pid: int
    connection: socket.socket


def take_sockets(address: ListenAddress) -> tuple[list[socket.socket], Predecessor | None]:
    """Take the listening sockets of the proxy that serves an address.

    Returns:
        The sockets, and the proxy; no sockets and None if there is none.
    """
    if sys.platform != "linux" or address.path:
        return [], None
    with contextlib.ExitStack() as on_error:
        connection = on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(_meeting_point(address))
            pid, user = _peer(connection)
            if user != os.geteuid():
                return [], None
            _, descriptors, _, _ = socket.recv_fds(connection, 1, MAX_SOCKETS)
        except OSError:
            return [], None
        sockets = [socket.socket(fileno=one) for one in descriptors]
        if not sockets:
            return [], None
        on_error.pop_all()
    return sockets, Predecessor(pid, connection)


class Handover:
    """Offers listening sockets to the next proxy, in a running event loop.

    Args:
        address: what the sockets listen on.
        sockets: the sockets.
        predecessor: the proxy that they were taken from. Until it ends, it is the one that offers
            them.
    """

    def __init__(
        self,
        address: ListenAddress,
        sockets: Sequence[socket.socket],
        predecessor: Predecessor | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._sockets = sockets
        self._predecessor = predecessor and predecessor.connection
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
            if _peer(successor)[1] != os.geteuid():
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


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(found)
    return pid, user
