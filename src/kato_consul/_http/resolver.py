"""Name resolution: the addresses of a host, looked up in a thread, so that a caller can give up.

``getaddrinfo`` cannot be interrupted, and a resolver that does not respond can keep it for half a
minute. asyncio's own lookups occupy a thread of the loop's executor for that time, and the end of
the loop waits for it. So each lookup has a daemon thread of its own, which ends with the resolver.
An IP address needs no lookup.
"""

import os
import socket
import threading
from concurrent.futures import Future
from typing import Any

Address = tuple[int, Any]
"""The family of a socket, and the address that it connects to."""

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address of a host is tried as well (RFC 8305, section 5)."""

_lookups: dict[tuple[int, str, int], "Future[list[Address]]"] = {}
"""The lookups in progress, by process, host and port. Callers of the same host share one: otherwise
each call would add a thread while a resolver does not respond. A forked child has no thread of its
parent, so it shares none of the parent's lookups."""


def ip_address(host: str, port: int) -> Address | None:
    """Return the address of a host that is an IP address; None if it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family, (host, port)
    return None


def look_up(host: str, port: int) -> "Future[list[Address]]":
    """Start a lookup, or join the one in progress; return its future.

    Its result is not empty. Its exception is an `OSError`, or a `ValueError` for a host that is no
    name. Cancelling it has no effect.
    """
    key = (os.getpid(), host, port)
    future: Future[list[Address]] = Future()
    future.set_running_or_notify_cancel()
    started = _lookups.setdefault(key, future)
    if started is not future:
        return started

    def run() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses: list[Address] = [(family, address) for family, *_, address in found]
        except (OSError, ValueError, OverflowError) as error:
            _lookups.pop(key, None)
            future.set_exception(error)
        else:
            _lookups.pop(key, None)
            future.set_result(list(dict.fromkeys(addresses)))

    try:
        threading.Thread(target=run, name=f"kato-consul lookup {host}", daemon=True).start()
    except RuntimeError as error:  # no more threads
        _lookups.pop(key, None)
        future.set_exception(OSError(str(error)))
    return future


def attempt_delay(addresses: int, timeout: float | None) -> float:
    """Return the seconds between attempts, so that each address is tried in half of ``timeout``."""
    return ATTEMPT_DELAY if timeout is None else min(ATTEMPT_DELAY, timeout / (2 * addresses))
