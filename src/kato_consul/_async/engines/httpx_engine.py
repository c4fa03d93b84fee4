"""The httpx engine on asyncio: one httpx transport for each origin."""

from typing import Any

import httpx

from kato_consul._async.engines.httpx_network import new_transport
from kato_consul._async.engines.time_limits import TimeLimits
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http import httpx_adapter
from kato_consul._http.endpoint import MAX_BODY, STATUSES_THAT_CLOSE, Endpoints
from kato_consul._http.httpx_adapter import OriginPool
from kato_consul.settings import Settings

_OriginPool = OriginPool[httpx.AsyncHTTPTransport]


class HttpxEngine:
    """The `AsyncEngine` of the setting ``engine="httpx"``."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._pools: dict[str, _OriginPool] = {}
        self._retired_pools: list[_OriginPool] = []
        self._in_flight = TimeLimits()

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. If cancelled, close the connection."""
        try:
            pool = self._pools.get(step.origin) or self._new_pool(step.origin)
        except ValueError as error:
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
        user = object()
        pool.users.add(user)
        try:
            return pool.endpoint.checked(await self._exchange(pool, step))
        finally:
            pool.users.discard(user)
            if pool.retired and not pool.users:
                await pool.transport.aclose()

    async def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""
        pool = self._pools.pop(origin, None)
        if pool is not None:
            pool.retired = True
            self._retired_pools = [
                retired for retired in (*self._retired_pools, pool) if retired.users
            ]
            if not pool.users:
                await pool.transport.aclose()

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""
        # httpcore does not close a connection that is being established: it then carries a request.
        await self._in_flight.end_all()
        pools = [*self._pools.values(), *self._retired_pools]
        self._pools, self._retired_pools = {}, []
        for pool in pools:
            await pool.transport.aclose()

    def _new_pool(self, origin: str) -> _OriginPool:
        endpoint = self._endpoints.of(origin)
        options = httpx_adapter.endpoint_options(endpoint, self._settings.keepalive)
        pool = self._pools[origin] = OriginPool(new_transport(**options), endpoint)
        return pool

    async def _exchange(self, pool: _OriginPool, step: Send) -> Outcome:
        send_trace = httpx_adapter.SendTrace()

        async def trace(event: str, info: Any) -> None:
            send_trace.record(event)

        try:
            request = httpx_adapter.to_httpx_request(step, pool.endpoint, self._settings, trace)
        except (ValueError, httpx.InvalidURL) as error:
            return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
        try:
            async with self._in_flight.limit(step.timeout):
                response = await pool.transport.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                try:
                    # Not aread: after it the connection may belong to another task.
                    chunks, size = [], 0
                    async for chunk in response.stream:
                        chunks.append(chunk)
                        size += len(chunk)
                        if size > MAX_BODY:
                            return httpx_adapter.too_long(size)
                    if response.status_code in STATUSES_THAT_CLOSE:
                        await response.extensions["network_stream"].aclose()
                finally:
                    await response.aclose()
        except httpx_adapter.SEND_ERRORS as error:
            return httpx_adapter.to_failure(error, sent=send_trace.bytes_sent)
        return httpx_adapter.to_outcome(response, b"".join(chunks))
