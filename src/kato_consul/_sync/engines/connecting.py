"""Connecting: a connection to a unix socket, or to the first address of a host that accepts one.

If a host has several addresses, the next one is tried as well when one has failed or takes long
(RFC 8305, "happy eyeballs"). The time limit is for all of them together, with the lookup.
"""

import errno
import os
import select
import socket
import time

from kato_consul._http.resolver import Address, attempt_delay, ip_address, look_up


def connect_tcp(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connected socket, within ``timeout`` seconds. Its own timeout is 0.

    Raises:
        OSError, ValueError, OverflowError: no address accepted a connection, or there is none.
    """
    deadline = time.monotonic() + timeout
    literal = ip_address(host, port)
    if literal is not None:
        return _connect_first([literal], deadline)
    try:
        addresses = look_up(host, port).result(timeout)
    except TimeoutError:
        raise TimeoutError(f"the addresses of {host} were not found in time") from None
    return _connect_first(addresses, deadline)


def connect_unix(path: str, timeout: float | None) -> socket.socket:
    """Return a socket that is connected to a unix socket, within ``timeout`` seconds.

    Raises:
        OSError, ValueError: the connection failed.
    """
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(timeout)
        connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected


def _connect_first(addresses: list[Address], deadline: float) -> socket.socket:
    delay = attempt_delay(len(addresses), deadline - time.monotonic())
    waiting = list(addresses)
    connecting: dict[int, socket.socket] = {}
    connected = select.poll()
    failed: OSError | None = None
    try:
        while waiting or connecting:
            if waiting:
                family, address = waiting.pop(0)
                try:
                    one = socket.socket(family, socket.SOCK_STREAM)
                except OSError as error:  # a kernel without IPv6
                    failed = error
                    continue
                connecting[one.fileno()] = one
                one.setblocking(False)
                code = one.connect_ex(address)
                if code not in (0, errno.EINPROGRESS):
                    failed = _drop(connecting.pop(one.fileno()), code)
                    continue
                connected.register(one, select.POLLOUT)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise failed or TimeoutError("no address accepted a connection in time")
            seconds = min(delay, remaining) if waiting else remaining
            for descriptor, _ in connected.poll(1_000 * seconds):
                connected.unregister(descriptor)
                one = connecting.pop(descriptor)
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return one
                failed = _drop(one, code)
        raise failed or OSError("it has no address")
    finally:
        for one in connecting.values():
            one.close()


def _drop(one: socket.socket, code: int) -> OSError:
    """Close a socket that did not connect, and return why."""
    one.close()
    return OSError(code, os.strerror(code))
