"""An httpx transport that finds its servers in Consul, on asyncio."""

from typing import Any

import httpx

from kato_consul._async.driver import AsyncDriver
from kato_consul._async.pooled_transport import PooledTransport
from kato_consul._balancing.pool import InstanceView
from kato_consul._flow import Outcome, Reply, Send
from kato_consul._http.discovered_service import DiscoveredService, Exchange, may_be_limit
from kato_consul.errors import KatoConsulError
from kato_consul.settings import Settings


class AsyncDiscoveryTransport(httpx.AsyncBaseTransport):
    """Gives a plain httpx client discovery, balancing and failover for any service in Consul.

        transport = AsyncDiscoveryTransport()
        async with httpx.AsyncClient(transport=transport, base_url="http://kato") as http:
            print((await http.get("/health")).json())

    The host of a URL is the name of a service; its port does not count. ``inner`` carries the
    requests: any httpx transport, or ours, with a pool for each instance. A client's timeouts are
    those of one attempt; ``settings.deadline`` bounds all of them. Methods that are not idempotent
    are repeated only when the request provably did not leave. Bodies of requests are read into
    memory first, to be sent again; those of responses are not.

    Where no instance serves a request, the last response is given, or an `httpx.TransportError`
    raised from the error of ours that says why.
    """

    def __init__(
        self, settings: Settings | None = None, *, inner: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings or Settings.from_env()
        own = PooledTransport(self._settings.keepalive)
        self._driver = AsyncDriver(self._settings, dropped=own.close_origin)
        self._inner = inner or own
        self._tells = inner is None or isinstance(inner, httpx.AsyncHTTPTransport)
        self._services: dict[str, DiscoveredService] = {}

    async def instances(self, service: str) -> list[InstanceView]:
        """Each instance of a service: what Consul says of it, and what was seen of it here."""
        known = self._service(service)
        snapshot = await self._driver.run(known.discovery.first(self._settings.deadline))
        return known.failover.pool.views(snapshot)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, on as many instances as it takes."""
        service = self._service(request.url.host)
        await request.aread()
        exchange = Exchange(request, self._settings, self._tells)

        async def send(step: Send) -> Outcome:
            await _discard(exchange)

            async def trace(event: str, info: Any) -> None:
                exchange.wire.seen(event)
                if (users := request.extensions.get("trace")) is not None:
                    await users(event, info)

            try:
                response = await self._inner.handle_async_request(exchange.attempt(step, trace))
                outcome = exchange.answered(response)
                if may_be_limit(response) and isinstance(outcome, Reply):
                    outcome = Reply(outcome.status, outcome.headers, await response.aread())
            except (httpx.TransportError, OSError) as error:
                return exchange.failed(error)
            return outcome

        flow = service.failover.call(exchange.call(), exchange.deadline)
        try:
            await self._driver.run(flow, send)
        except KatoConsulError as error:
            return exchange.ended(error)
        except BaseException:  # whoever asked gave up
            await _discard(exchange)
            raise
        assert exchange.response is not None
        return exchange.response

    async def aclose(self) -> None:
        """End the watches and close every connection."""
        await self._driver.aclose()
        await self._inner.aclose()

    def _service(self, name: str) -> DiscoveredService:
        service = self._services.get(name)
        if service is None:
            service = DiscoveredService.of(name, self._settings)
            for flow in service.discovery.watches():
                self._driver.start(flow, f"kato-consul watch {name}")
            self._services[name] = service
        return service


async def _discard(exchange: Exchange) -> None:
    """The response of an attempt that another follows is nobody's."""
    response, exchange.response = exchange.response, None
    if response is not None:
        await response.aclose()
