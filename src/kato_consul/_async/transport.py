"""Discovery transport: a plain httpx client for any service in Consul, on asyncio."""

from typing import Any

import httpx

from kato_consul._async import runtime
from kato_consul._async.driver import AsyncDriver
from kato_consul._async.engines.httpx_network import limited_timeout, time_limit
from kato_consul._async.pooled_transport import AsyncPooledTransport
from kato_consul._balancing.pool import InstanceView
from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul._http.discovered_service import (
    DiscoveredService,
    Exchange,
    may_be_repeated,
)
from kato_consul._http.endpoint import Endpoints
from kato_consul._http.service_directory import ServiceDirectory
from kato_consul._runtime_defaults import clock
from kato_consul.errors import ClientClosed, KatoConsulError, NoInstances, NoThread
from kato_consul.settings import Settings


class AsyncDiscoveryTransport(httpx.AsyncBaseTransport):
    """Adds discovery, balancing and failover to a plain httpx client, for any service in Consul.

        transport = AsyncDiscoveryTransport()
        async with httpx.AsyncClient(transport=transport, base_url="http://kato") as http:
            print((await http.get("/health")).json())

    The host of a URL is the name of a service; its port is ignored. Methods that are not idempotent
    are retried only if the request was certainly not sent. Request bodies are read into memory, so
    that they can be sent again; response bodies are not.

    An instance whose metadata has ``scheme=https`` or a ``path`` is reached that way. The settings
    for KATO (``kato_…``) are for requests to ``settings.service``, and to no other service.

    The timeouts of the httpx client apply to each attempt: ``connect`` (at most
    ``settings.connect_timeout``), ``write`` and ``read``. ``pool`` is how long a call waits for a
    usable instance. Until the head of the response, a call with all its attempts takes at most the
    sum of the four, which is the most that httpx itself allows one request, and at most
    ``settings.deadline``. The body of the response is limited by ``read`` alone.

    If no instance serves a request, the last response is returned, or an `httpx.TransportError` is
    raised from the `KatoConsulError` that gives the reason. After `aclose`, a request raises
    RuntimeError, as with a closed client of httpx.

    A service is watched from its first request until five minutes after the last one. All services
    share at most six connections to Consul: four are watched by blocking queries, and the others
    are read every three seconds.

    Args:
        settings: how to reach Consul; from the environment unless given.
        inner: the transport that sends the requests; unless given, one with a connection pool for
            each instance.
    """

    def __init__(
        self, settings: Settings | None = None, *, inner: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings or Settings()
        endpoints = Endpoints(self._settings)
        self._kato_headers = endpoints.kato_headers
        pooled = AsyncPooledTransport(self._settings.keepalive, endpoints.tls)
        self._driver = AsyncDriver(
            self._settings, owner=self, endpoints=endpoints, on_closed_origin=pooled.close_origin
        )
        self._inner = inner or pooled
        self._reports_first_byte = inner is None or isinstance(inner, httpx.AsyncHTTPTransport)
        self._limited = limited_timeout if inner is None else min
        runtime.in_each_process(self, AsyncDiscoveryTransport._set_up)

    def _set_up(self) -> None:
        self._services = ServiceDirectory(self._settings)

    async def instances(self, service: str) -> list[InstanceView]:
        """Return all instances of a service, with what Consul reports and what was measured here.

        Args:
            service: the service's name in Consul.

        Raises:
            ConsulError: Consul did not answer within ``settings.deadline`` seconds.
            ClientClosed: the transport is closed.
        """
        self._driver.check_usable()
        deadline = self._settings.deadline
        discovered = self._service(service, clock() + deadline)
        snapshot = await self._driver.run(discovered.discovery.snapshot(deadline))
        return discovered.failover.pool.views(snapshot)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, and retry it on other instances if that is safe."""
        try:
            self._driver.check_usable()
        except ClientClosed as error:
            raise RuntimeError(f"cannot send a request: {error}") from error
        await request.aread()
        exchange = Exchange(request, self._settings, self._reports_first_byte, self._kato_headers)

        async def send(step: Send) -> Outcome:
            earlier = exchange.response
            if earlier is not None and not isinstance(earlier.stream, httpx.ByteStream):
                await _discard_response(exchange)

            async def trace(event: str, info: Any) -> None:
                exchange.trace.record(event)
                if (caller_trace := request.extensions.get("trace")) is not None:
                    await caller_trace(event, info)

            try:
                attempt = exchange.to_httpx_request(step, trace, self._limited)
            except (httpx.InvalidURL, ValueError) as error:
                return Failure(Cause.CONNECT, bytes_sent=False, detail=str(error), error=error)
            try:
                async with time_limit(step.timeout):
                    response = await self._inner.handle_async_request(attempt)
                    outcome = exchange.record_response(response)
                    if may_be_repeated(response):
                        outcome = Reply(outcome.status, outcome.headers, await _buffer(response))
            except (httpx.TransportError, OSError, UnicodeError) as error:
                failure = exchange.record_failure(error)
                if exchange.response is not earlier or not exchange.keeps_response(failure):
                    await _discard_response(exchange)
                return failure
            exchange.limit_body_only_by_request(attempt)
            return outcome

        try:
            service = self._service(exchange.service, exchange.deadline)
            flow = service.failover.call(exchange.to_request(), exchange.deadline)
            try:
                await self._driver.run(flow, send)
            except NoInstances as error:
                raise await self._driver.run(service.with_known_names(error)) from None
        except KatoConsulError as error:
            return exchange.final_response(error)
        except BaseException:  # the caller was cancelled or interrupted
            await _discard_response(exchange)
            raise
        assert exchange.response is not None
        return exchange.response

    async def aclose(self) -> None:
        """Stop the watches and close every connection."""
        try:
            await self._driver.aclose()
        finally:
            await self._inner.aclose()

    def _service(self, name: str, deadline: float) -> DiscoveredService:
        service = self._services.use(name, deadline)
        scheduler = self._services.scheduler
        try:
            for _ in range(scheduler.missing_workers):
                self._driver.start(scheduler.worker(), "kato-consul watches")
        except NoThread:
            if not scheduler.is_running:
                raise
        return service


async def _buffer(response: httpx.Response) -> bytes:
    """Read the body as it was sent, and leave it in the response: the caller may stream it."""
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    body = bytearray()
    async for part in stream:
        body += part
    await stream.aclose()
    response.stream = httpx.ByteStream(bytes(body))
    return bytes(body)


async def _discard_response(exchange: Exchange) -> None:
    """Close the response, which is not returned."""
    response, exchange.response = exchange.response, None
    if response is not None:
        await response.aclose()
