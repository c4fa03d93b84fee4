"""Connecting: a connection to the first address of a host that accepts one.

If a host has several addresses, the next one is tried as well when one has failed or takes long
(RFC 8305, "happy eyeballs"). asyncio's own implementation is not used: uvloop has none.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kato_consul._http.resolver import Address, attempt_delay, ip_address, look_up

T = TypeVar("T")


async def addresses_of(host: str, port: int) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        OSError, ValueError: it has none.
    """
    literal = ip_address(host, port)
    return [literal] if literal is not None else await asyncio.wrap_future(look_up(host, port))


async def connect_tcp(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connected, non-blocking socket. ``timeout`` is as in `connect_first`.

    Raises:
        OSError, ValueError, OverflowError: no address accepted a connection, or there is none.
    """
    addresses = await addresses_of(host, port)
    return await connect_first(addresses, _connect_socket, _close_socket, timeout)


async def connect_first(
    addresses: list[Address],
    connect: Callable[[Address], Awaitable[T]],
    close: Callable[[T], Awaitable[None]],
    timeout: float | None,
) -> T:
    """Return the first connection that ``connect`` returns; ``close`` ends the others.

    ``timeout`` (seconds) is that of the caller, and spaces the attempts; it does not end them.

    Raises:
        Exception: that of the last attempt, if all failed.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    delay = attempt_delay(len(addresses), timeout)
    waiting = list(addresses)
    connecting: set[asyncio.Future[T]] = set()
    try:
        while True:
            if waiting:
                connecting.add(asyncio.ensure_future(connect(waiting.pop(0))))
            done, _ = await asyncio.wait(
                connecting,
                timeout=delay if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for one in done:
                if one.exception() is None:
                    connecting.remove(one)
                    return one.result()
                if len(connecting) == 1 and not waiting:
                    return one.result()  # raises
                connecting.remove(one)
    finally:
        for one in connecting:
            one.cancel()
        for result in await asyncio.gather(*connecting, return_exceptions=True):
            if not isinstance(result, BaseException):
                await close(result)


async def _connect_socket(address: Address) -> socket.socket:
    family, target = address
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, target)
    except BaseException:
        connected.close()
        raise
    return connected


async def _close_socket(connected: socket.socket) -> None:
    connected.close()
