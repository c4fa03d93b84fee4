"""Pooled transport: one httpx transport for each instance, closed when Consul no longer has it."""

import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from kato_consul._async import runtime
from kato_consul._async.engines.httpx_network import new_transport
from kato_consul._http.discovered_service import FOR_KATO
from kato_consul._http.httpx_adapter import transport_options
from kato_consul._http.tls import TlsContexts


class AsyncPooledTransport(httpx.AsyncBaseTransport):
    """A connection pool for each origin.

    Args:
        keepalive: seconds that a connection may be idle.
        tls: has the context for KATO. Other services are verified with the system's CAs.
    """

    def __init__(self, keepalive: float, tls: TlsContexts) -> None:
        self._keepalive = keepalive
        self._kato_tls = tls
        self._tls: ssl.SSLContext | None = None
        runtime.in_each_process(self, AsyncPooledTransport._set_up)

    def _set_up(self) -> None:
        self._pools: dict[tuple[str, bool], _OriginPool] = {}
        self._pools_lock = runtime.ThreadLock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over the pool of its origin."""
        url = request.url
        for_kato = bool(request.extensions.get(FOR_KATO))
        key = (f"{url.scheme}://{url.netloc.decode('ascii')}", for_kato)
        with self._pools_lock:
            pool = self._pools.get(key)
            if pool is None:
                tls = self._context(for_kato=for_kato) if url.scheme == "https" else None
                pool = self._pools[key] = _OriginPool(self._keepalive, tls)
            pool.acquire()
        return await pool.send(request)

    def _context(self, *, for_kato: bool) -> ssl.SSLContext:
        if for_kato:
            return self._kato_tls.kato
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""
        netloc = origin.partition("://")[2].partition("/")[0]
        for scheme, for_kato in itertools.product(("http", "https"), (False, True)):
            with self._pools_lock:
                # httpx leaves out the scheme's own port.
                same = httpx.URL(f"{scheme}://{netloc}").netloc.decode("ascii")
                pool = self._pools.pop((f"{scheme}://{same}", for_kato), None)
            if pool is not None:
                await pool.retire()

    async def aclose(self) -> None:
        """Close every connection."""
        with self._pools_lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.transport.aclose()


class _OriginPool:
    """The transport of one origin, and the number of requests and responses that use it."""

    def __init__(self, keepalive: float, tls: ssl.SSLContext | None) -> None:
        self.transport = new_transport(**transport_options(keepalive, tls))
        self._users = 0
        self._retired = False
        self._users_lock = runtime.ThreadLock()

    def acquire(self) -> None:
        with self._users_lock:
            self._users += 1

    async def send(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self.transport.handle_async_request(request)
        except BaseException:
            await self.release()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_ReleasingStream(response.stream, self.release),
            extensions=response.extensions,
        )

    async def release(self) -> None:
        with self._users_lock:
            self._users -= 1
            unused = self._retired and not self._users
        if unused:
            await self.transport.aclose()

    async def retire(self) -> None:
        with self._users_lock:
            self._retired = True
            unused = not self._users
        if unused:
            await self.transport.aclose()


class _ReleasingStream(httpx.AsyncByteStream):
    """A response body that releases its pool when it is closed."""

    def __init__(
        self, stream: httpx.AsyncByteStream, release: Callable[[], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._release: Callable[[], Awaitable[None]] | None = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
        release, self._release = self._release, None
        if release is not None:
            await release()
