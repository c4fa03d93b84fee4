"""Listening sockets: opened, alone on an address or beside those of another process."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.listen_address import ListenAddress

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel's own limit is lower, mostly 4096."""


IN_USE = "another program listens there: end it, or choose another port"


def open_sockets(
    option: str,
    address: ListenAddress,
    count: int,
    *,
    beside: bool = False,
    in_use: str = IN_USE,
) -> list[socket.socket]:
    """Open ``count`` sockets for each address of a host.

    Those that can be beside others of the address are only bound: connections reach them once they
    listen, by `start_listening`. Another one listens, so that nothing else can come to do so.

    They have SO_REUSEPORT: the kernel gives each connection to one of them, and another process of
    the same user can listen on the same port, before this one ends.

    Args:
        option: the option's name, for errors.
        address: what to listen on.
        count: sockets of each address; a unix socket is always one.
        beside: whether another process may listen there.
        in_use: what to say if one does that must not.

    Raises:
        ConfigurationError: the address cannot be used; the message has the reason.
    """
    if address.path:
        return [_unix_socket(option, Path(address.path), beside, in_use)]
    opened: list[socket.socket] = []
    with contextlib.ExitStack() as on_error:
        last: OSError | None = None
        for family, target in address.resolve(option):
            try:
                for number in range(count):
                    one = on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
                    opened.append(_listening(one, family, target, beside or number > 0))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise unusable(option, address, error, in_use) from None
                last = error  # localhost may be ::1 too, on a machine without IPv6
        if not opened and last is not None:
            raise unusable(option, address, last)
        on_error.pop_all()
    return opened


def start_listening(option: str, address: ListenAddress, sockets: Iterable[socket.socket]) -> None:
    """Let sockets listen, also those that are only bound.

    Raises:
        ConfigurationError: something else listens there by now.
    """
    for one in sockets:
        try:
            one.listen(BACKLOG)
        except OSError as error:
            raise unusable(option, address, error) from None


def shares(sockets: int, workers: int) -> Iterator[Sequence[int]]:
    """Yield the numbers of each worker's sockets: each socket has one worker, and each worker has
    one of each address, if they are in the order of their addresses, and there are enough. A unix
    socket is all workers'."""
    for number in range(workers):
        yield range(sockets)[number::workers] or range(sockets)


def _listening(
    one: socket.socket, family: socket.AddressFamily, target: tuple[str, int], beside: bool
) -> socket.socket:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, beside)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(target)  # which fails without SO_REUSEPORT if another socket listens there
    let_others_listen(one)
    if not beside:
        one.listen(BACKLOG)
    one.setblocking(False)
    return one


def let_others_listen(one: socket.socket) -> None:
    """Let sockets that are bound later listen on the address of this one, if they want to."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _unix_socket(option: str, path: Path, beside: bool, in_use: str) -> socket.socket:
    """Open a unix socket, which replaces an earlier one at once: a connection reaches one of the
    two."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_socket():
            raise ConfigurationError(f"{option} unix://{path}: the file exists, and is no socket")
        if not beside and _is_served(path):
            raise OSError(errno.EADDRINUSE, "in use")
        one.bind(str(new))
        one.listen(BACKLOG)
        one.setblocking(False)
        new.replace(path)
    except OSError as error:
        one.close()
        new.unlink(missing_ok=True)
        raise unusable(option, ListenAddress("", 0, str(path)), error, in_use) from None
    except ConfigurationError:
        one.close()
        raise
    return one


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except BlockingIOError:  # so many wait that no other can
            return True
        except OSError:
            return False
        return True


def unusable(
    option: str, address: ListenAddress, error: OSError, in_use: str = IN_USE
) -> ConfigurationError:
    """Return the error for an address that cannot be listened on."""
    advice = {
        errno.EADDRINUSE: in_use,
        errno.EACCES: "this user may not listen there: choose a port above 1023",
        errno.EPERM: "this user may not listen there",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return ConfigurationError(f"{option} {address} cannot be used: {advice}")
