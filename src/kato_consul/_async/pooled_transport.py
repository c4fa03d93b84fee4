"""httpx's own transport, one for each instance, closed when the instance leaves."""

import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx

from kato_consul._http.httpx_adapter import instance_options


class PooledTransport(httpx.AsyncBaseTransport):
    """A pool of connections for each origin. ``keepalive`` are the seconds one may be idle."""

    def __init__(self, keepalive: float) -> None:
        self._keepalive = keepalive
        self._pools: dict[str, _Pool] = {}
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it over the pool of its origin."""
        url = request.url
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        pool = self._pools.get(origin)
        if pool is None:
            if url.scheme == "https" and self._tls is None:
                self._tls = ssl.create_default_context()
            pool = self._pools[origin] = _Pool(self._keepalive, self._tls)
        return await pool.send(request)

    async def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        for scheme in ("http", "https"):
            pool = self._pools.pop(f"{scheme}://{httpx.URL(origin).netloc.decode('ascii')}", None)
            if pool is not None:
                await pool.retire()

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.transport.aclose()


class _Pool:
    """The transport of one origin; ``users`` are the requests and responses it has in hand."""

    def __init__(self, keepalive: float, tls: ssl.SSLContext | None) -> None:
        self.transport = httpx.AsyncHTTPTransport(**instance_options(keepalive, tls))
        self.users = 0
        self.retired = False

    async def send(self, request: httpx.Request) -> httpx.Response:
        self.users += 1
        try:
            response = await self.transport.handle_async_request(request)
        except BaseException:
            await self.release()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Counted(response.stream, self.release),
            extensions=response.extensions,
        )

    async def release(self) -> None:
        self.users -= 1
        if self.retired and not self.users:
            await self.transport.aclose()

    async def retire(self) -> None:
        self.retired = True
        if not self.users:
            await self.transport.aclose()


class _Counted(httpx.AsyncByteStream):
    """A response's body, after whose end its pool is let go."""

    def __init__(
        self, stream: httpx.AsyncByteStream, ended: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._stream = stream
        self._ended: Callable[[], Coroutine[Any, Any, None]] | None = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        ended, self._ended = self._ended, None
        if ended is not None:
            await ended()
