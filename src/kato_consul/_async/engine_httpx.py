"""The engine under httpx: its own transport, httpcore.

httpcore's ``trace`` extension tells whether a byte left: see `kato_consul._http.httpx_adapter`.
"""

import asyncio
import ssl
from typing import Any

import httpx

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http import httpx_adapter as httpx_wire
from kato_consul._http.endpoint import STATUSES_THAT_CLOSE
from kato_consul.settings import Settings


class HttpxEngine:
    """An `AsyncEngine`."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._tls = tls
        self._pools: dict[str, _Pool] = {}
        self._leaving: list[_Pool] = []

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. Cancelled, it drops the connection."""
        pool = self._pools.get(step.origin)
        if pool is None:
            pool = self._pools[step.origin] = _Pool(step.origin, self._settings, self._tls)
        pool.users += 1
        try:
            return await _exchange(pool.transport, step, self._settings)
        finally:
            pool.users -= 1
            if pool.retired and not pool.users:
                await pool.transport.aclose()

    async def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retired = True
            self._leaving = [one for one in (*self._leaving, pool) if one.users]
            if not pool.users:
                await pool.transport.aclose()

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""
        pools = [*self._pools.values(), *self._leaving]
        self._pools, self._leaving = {}, []
        for pool in pools:
            await pool.transport.aclose()


class _Pool:
    """The transport of one origin; ``users`` are the requests it has in hand."""

    def __init__(self, origin: str, settings: Settings, tls: ssl.SSLContext | None) -> None:
        own = tls if origin in settings.consul_origins else None
        options = httpx_wire.connection_options(origin, settings, own)
        self.transport = httpx.AsyncHTTPTransport(**options)
        self.users = 0
        self.retired = False


async def _exchange(transport: httpx.AsyncHTTPTransport, step: Send, settings: Settings) -> Outcome:
    seen = httpx_wire.SendTrace()

    async def trace(event: str, info: Any) -> None:
        seen.seen(event)

    try:
        request = httpx_wire.http_request(step, settings, trace)
    except (ValueError, httpx.InvalidURL) as error:
        return Failure(Cause.PROTOCOL, bytes_sent=False, detail=str(error), error=error)
    try:
        async with asyncio.timeout(step.timeout):
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            try:
                # Not aread: at its end the connection is another task's already.
                body = b"".join([chunk async for chunk in response.stream])
                if response.status_code in STATUSES_THAT_CLOSE:
                    await response.extensions["network_stream"].aclose()
            finally:
                await response.aclose()
    except (httpx.HTTPError, TimeoutError, OSError) as error:
        return httpx_wire.failure(error, sent=seen.sent)
    return httpx_wire.reply(response, body)
