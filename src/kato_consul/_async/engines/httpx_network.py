"""Network of the httpx transports on asyncio: how they connect, and an early answer.

httpcore connects through anyio, which looks names up in the event loop's executor (`resolver`). And
when a server answers before it has received the whole request, and closes the connection, anyio
drops what was received. Both are done here; the rest is httpcore's own.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from kato_consul._async.engines.connecting import addresses_of, connect_first
from kato_consul._http.resolver import Address

READ_SIZE = 65_536
"""Bytes in one read of an early answer, and of a request during which there may be one."""


def new_transport(**options: Any) -> httpx.AsyncHTTPTransport:
    """Return httpx's transport with these options, on the network of this module."""
    transport = httpx.AsyncHTTPTransport(**options)
    # httpx has no parameter for it; httpcore, whose pool this is, has.
    transport._pool._network_backend = _NetworkBackend()
    return transport


def time_limit(seconds: float) -> contextlib.AbstractAsyncContextManager[object]:
    """Raise TimeoutError in the block if it takes longer than ``seconds``."""
    return asyncio.timeout(seconds)


def limited_timeout(each: float, together: float) -> float:
    """Return a timeout of httpx for each operation, in seconds. `time_limit` limits all of them
    together."""
    return min(each, together)


class _NetworkBackend(httpcore.AnyIOBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async def connect(address: Address) -> httpcore.AsyncNetworkStream:
            return await super(_NetworkBackend, self).connect_tcp(
                address[1][0], port, None, local_address, socket_options
            )

        async def close(stream: httpcore.AsyncNetworkStream) -> None:
            await stream.aclose()

        try:
            async with asyncio.timeout(timeout):
                addresses = await addresses_of(host, port)
                return _Stream(await connect_first(addresses, connect, close, timeout))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("no address accepted a connection in time") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class _Stream(httpcore.AsyncNetworkStream):
    """A connection of httpcore's. Of a write that fails, it keeps what was received before."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._received = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._received:
            received, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return received
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) <= READ_SIZE:  # the socket buffers it
            await self._stream.write(buffer, timeout)
            return
        # asyncio closes its socket when a write fails. A second descriptor can still be read.
        descriptor = os.dup(self._stream.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as second:
            try:
                await self._stream.write(buffer, timeout)
            except httpcore.WriteError:  # httpcore then reads the response
                with contextlib.suppress(OSError):
                    while received := second.recv(READ_SIZE, socket.MSG_DONTWAIT):
                        self._received += received
                raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:  # httpcore closes it after other errors only
            await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
