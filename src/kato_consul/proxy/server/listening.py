"""Listening sockets: opened, or taken over from the proxy that serves the address now."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.listen_address import ListenAddress

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel's own limit is lower, mostly 4096."""


def open_sockets(option: str, address: ListenAddress, count: int) -> list[socket.socket]:
    """Open ``count`` sockets for each address of a host; all of them listen.

    They have SO_REUSEPORT: the kernel gives each connection to one of them, and another process of
    the same user can listen on the same port, before this one ends.

    Raises:
        ConfigurationError: the address cannot be used; the message has the reason.
    """
    if address.path:
        return [_unix_socket(option, Path(address.path))]
    opened: list[socket.socket] = []
    with contextlib.ExitStack() as on_error:
        last: OSError | None = None
        for family, target in _targets(option, address):
            try:
                for _ in range(count):
                    one = on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
                    opened.append(_listening(one, family, target))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise unusable(option, address, error) from None
                last = error  # localhost may be ::1 too, on a machine without IPv6
        if not opened and last is not None:
            raise unusable(option, address, last)
        on_error.pop_all()
    return opened


def shares(sockets: Sequence[socket.socket], workers: int) -> Iterator[list[socket.socket]]:
    """Yield the sockets of each worker: each socket has one worker, and each worker has a socket
    of each address if there are enough."""
    for number in range(workers):
        yield [*sockets[number::workers]]


def _listening(
    one: socket.socket, family: socket.AddressFamily, target: tuple[str, int]
) -> socket.socket:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(target)
    one.listen(BACKLOG)
    one.setblocking(False)
    return one


def _targets(
    option: str, address: ListenAddress
) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError(
            f"{option} {address}: the host is not known ({error.strerror}): write an address of "
            f"this machine, such as 127.0.0.1:{address.port}"
        ) from None
    targets = {(family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found}
    return sorted(targets)


def _unix_socket(option: str, path: Path) -> socket.socket:
    """Open a unix socket, which replaces the one of an earlier proxy at once: a connection reaches
    one of the two."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_socket():
            raise ConfigurationError(f"{option} unix://{path}: the file exists, and is no socket")
        one.bind(str(new))
        one.listen(BACKLOG)
        one.setblocking(False)
        new.replace(path)
    except OSError as error:
        one.close()
        new.unlink(missing_ok=True)
        raise unusable(option, ListenAddress("", 0, str(path)), error) from None
    except ConfigurationError:
        one.close()
        raise
    return one


def unusable(option: str, address: ListenAddress, error: OSError) -> ConfigurationError:
    """Return the error for an address that cannot be listened on."""
    advice = {
        errno.EADDRINUSE: "another program listens there: end it, or choose another port",
        errno.EACCES: "this user may not listen there: choose a port above 1023",
        errno.EPERM: "this user may not listen there",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return ConfigurationError(f"{option} {address} cannot be used: {advice}")
