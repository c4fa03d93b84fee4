"""Handover of listening sockets to the next proxy on this machine.

Linux resets connections that are in the queue of a listening socket when it is closed, also if
other sockets listen on the same port (unless net.ipv4.tcp_migrate_req is set). The last accept can
be as near to the close as it will: a connection that arrives between the two is lost. So a proxy
that starts takes the sockets of the one that runs, as HAProxy does with ``expose-fd listeners``
(https://docs.haproxy.org/2.8/management.html#4). Both accept then, and when the older one ends, no
queue is closed.

The proxies meet at a unix socket in Linux's abstract namespace, which is named after the address
that they listen on and is of the same network namespace. Each checks that the other runs as the
same user. The one that runs says first what it serves (`Identity`), and gives its sockets when it
is asked for them: to any number of proxies that are to serve beside it, and to one at a time that
is to replace it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from kato_consul._logging import logger
from kato_consul.proxy.server.identity import Identity
from kato_consul.proxy.server.listen_address import ListenAddress

MAX_SOCKETS = 250
"""File descriptors in one message: Linux' SCM_MAX_FD is 253."""

MAX_IDENTITY = 8192
"""Bytes of an identity, of which a path prefix is the part that can be long."""

ANSWER_WITHIN = 2.0
"""Seconds to wait for an answer: a proxy that is stopped gives none."""

RETRY_INTERVAL = 1.0
"""Seconds between attempts to offer sockets while another proxy of the address offers its own, and
to meet the next one without a file descriptor."""

_JOIN, _REPLACE = b"join", b"replace"
"""What the sockets are asked for with."""

_MAX_MESSAGE = 32

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group

log = logger("proxy")


class BeingReplacedError(Exception):
    """The proxy is just being replaced by another process, ``pid``; 0 as with `RunningProxy`."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


class RunningProxy(NamedTuple):
    """The proxy that serves an address.

    Attributes:
        pid: its process, 0 if that is in a PID namespace that is not visible from here.
        user: the user that it runs as.
        identity: what it serves; None if it is of another user, or another version of the program,
            or does not answer.
        connection: is closed when it ends.
        other_version: whether it is another version of the program.
    """

    pid: int
    user: int
    identity: Identity | None
    connection: socket.socket
    other_version: bool = False

    def take_sockets(self, *, replace: bool) -> list[socket.socket]:
        """Take its listening sockets, which it keeps, too; none if it does not answer.

        Args:
            replace: whether this process is to end it.

        Raises:
            BeingReplacedError: another process is to.
        """
        try:
            self.connection.send(_REPLACE if replace else _JOIN)
            answer, descriptors, _, _ = socket.recv_fds(self.connection, _MAX_MESSAGE, MAX_SOCKETS)
        except OSError:
            return []
        if answer.isdigit():
            raise BeingReplacedError(int(answer))
        return [socket.socket(fileno=one) for one in descriptors]

    def terminate(self) -> None:
        """Send it SIGTERM, unless it has ended: then its id may be that of another process."""
        self.connection.setblocking(False)
        try:
            self.connection.recv(1)
        except BlockingIOError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        except OSError:
            return


def find_proxy(address: ListenAddress) -> RunningProxy | None:
    """Return the proxy that serves an address, None if there is none, or none can be found."""
    if sys.platform != "linux":
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(ANSWER_WITHIN)
    try:
        connection.connect(_meeting_point(address))
    except OSError:
        connection.close()
        return None
    pid, user = _peer(connection)
    answer = b""
    if user == os.geteuid():
        with contextlib.suppress(OSError):
            answer = connection.recv(MAX_IDENTITY)
    identity = Identity.decode(answer)
    other_version = answer != b"" and identity is None
    return RunningProxy(pid, user, identity, connection, other_version)


class Handover:
    """Offers listening sockets to the next proxy, in a running event loop.

    Args:
        address: what the sockets listen on.
        identity: what this proxy serves.
        sockets: the sockets.
        predecessor: the proxy that they were taken from. Until it ends, it is the one that offers
            them.
    """

    def __init__(
        self,
        address: ListenAddress,
        identity: Identity,
        sockets: Sequence[socket.socket],
        predecessor: RunningProxy | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._identity = identity
        self._sockets = sockets
        self._predecessor = predecessor and predecessor.connection
        self._offering: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._successors: list[socket.socket] = []
        self._replacing: socket.socket | None = None

    def start(self) -> None:
        """Offer the sockets from now on, or from the end of the predecessor on."""
        if sys.platform != "linux":
            return
        if self._predecessor is None:
            self._offer()
        else:
            self._loop.add_reader(self._predecessor.fileno(), self._predecessor_ended)

    def end(self) -> None:
        """Stop to offer the sockets."""
        if self._retry is not None:
            self._retry.cancel()
        if self._predecessor is not None:
            self._forget(self._predecessor)
        if self._offering is not None:
            self._forget(self._offering)
        for one in self._successors:
            self._forget(one)

    def _predecessor_ended(self) -> None:
        assert self._predecessor is not None
        self._forget(self._predecessor)
        self._predecessor = None
        self._offer()

    def _offer(self) -> None:
        with contextlib.ExitStack() as on_error:
            try:
                offering = on_error.enter_context(
                    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                )
                offering.bind(_meeting_point(self._address))
                offering.listen()
            except OSError:  # another proxy that shares the address offers its own, until it ends
                self._retry = self._loop.call_later(RETRY_INTERVAL, self._offer)
                return
            on_error.pop_all()
        offering.setblocking(False)
        self._offering = offering
        self._await_successors()

    def _await_successors(self) -> None:
        assert self._offering is not None
        self._loop.add_reader(self._offering.fileno(), self._meet)

    def _meet(self) -> None:
        assert self._offering is not None
        try:
            successor, _ = self._offering.accept()
        except BlockingIOError:  # it has ended
            return
        except OSError:  # no file descriptor left
            self._loop.remove_reader(self._offering.fileno())
            self._retry = self._loop.call_later(RETRY_INTERVAL, self._await_successors)
            return
        successor.setblocking(False)
        try:
            if _peer(successor)[1] != os.geteuid():
                successor.close()
                return
            successor.send(self._identity.encode())
        except OSError:
            successor.close()
            return
        self._successors.append(successor)
        self._loop.add_reader(successor.fileno(), self._give, successor)

    def _give(self, successor: socket.socket) -> None:
        """Give the sockets to a proxy that asks for them, unless another one does that is to
        replace this one, too; one that has ended is forgotten."""
        try:
            asked = successor.recv(_MAX_MESSAGE)
            if asked == _REPLACE and self._replacing is not None:
                successor.send(b"%d" % _peer(self._replacing)[0])
                return
            if asked in (_JOIN, _REPLACE):
                socket.send_fds(successor, [b"."], [one.fileno() for one in self._sockets])
                log.info("proxy.sockets_given", address=str(self._address))
                if asked == _REPLACE:
                    self._replacing = successor
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        if successor is self._replacing:
            self._replacing = None
        self._successors.remove(successor)
        self._forget(successor)

    def _forget(self, connection: socket.socket) -> None:
        self._loop.remove_reader(connection.fileno())
        connection.close()


def _meeting_point(address: ListenAddress) -> str:
    """Return the name in the abstract namespace; raises OSError if a unix socket has no folder.

    It stays the same in all versions of the program: one cannot find another one otherwise.
    It is a hash, since it may have 107 bytes, and the name of a host or a file 255. That of a unix
    socket has its folder's number: containers that share a network may have other files under the
    same path.
    """
    where = str(address)
    if address.path:
        folder = Path(address.path).parent.stat()
        where = f"unix {folder.st_dev}:{folder.st_ino} {Path(address.path).name}"
    return f"\0kato-consul proxy {sha256(os.fsencode(where)).hexdigest()}"


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(found)
    return pid, user
