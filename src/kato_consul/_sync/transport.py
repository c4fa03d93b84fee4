"""An httpx transport that finds its servers in Consul, for threads."""

import threading
from typing import Any

import httpx

from kato_consul._balancing.pool import InstanceView
from kato_consul._flow import Outcome, Reply, Send
from kato_consul._http.discovered_service import DiscoveredService, Exchange, may_be_limit
from kato_consul._sync.driver import Driver
from kato_consul._sync.fork_hooks import reset_in_child
from kato_consul._sync.pooled_transport import PooledTransport
from kato_consul.errors import KatoConsulError
from kato_consul.settings import Settings


class DiscoveryTransport(httpx.BaseTransport):
    """Gives a plain httpx client discovery, balancing and failover for any service in Consul.

        with httpx.Client(transport=DiscoveryTransport(), base_url="http://kato") as http:
            print(http.get("/health").json())

    The host of a URL is the name of a service; its port does not count. ``inner`` carries the
    requests: any httpx transport, or ours, with a pool for each instance. A client's timeouts are
    those of one attempt; ``settings.deadline`` bounds all of them. Methods that are not idempotent
    are repeated only when the request provably did not leave. Bodies of requests are read into
    memory first, to be sent again; those of responses are not.

    Where no instance serves a request, the last response is given, or an `httpx.TransportError`
    raised from the error of ours that says why.
    """

    def __init__(
        self, settings: Settings | None = None, *, inner: httpx.BaseTransport | None = None
    ) -> None:
        self._settings = settings or Settings.from_env()
        own = PooledTransport(self._settings.keepalive)
        self._driver = Driver(self._settings, dropped=own.close_origin)
        self._inner = inner or own
        self._tells = inner is None or isinstance(inner, httpx.HTTPTransport)
        self._services: dict[str, DiscoveredService] = {}
        self._meeting = threading.Lock()
        reset_in_child(self, DiscoveryTransport._reset_in_child)

    def instances(self, service: str) -> list[InstanceView]:
        """Each instance of a service: what Consul says of it, and what was seen of it here."""
        known = self._service(service)
        snapshot = self._driver.run(known.discovery.first(self._settings.deadline))
        return known.failover.pool.views(snapshot)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, on as many instances as it takes."""
        service = self._service(request.url.host)
        request.read()
        exchange = Exchange(request, self._settings, self._tells)

        def send(step: Send) -> Outcome:
            _discard(exchange)

            def trace(event: str, info: Any) -> None:
                exchange.wire.seen(event)
                if (users := request.extensions.get("trace")) is not None:
                    users(event, info)

            try:
                response = self._inner.handle_request(exchange.attempt(step, trace))
                outcome = exchange.answered(response)
                if may_be_limit(response) and isinstance(outcome, Reply):
                    outcome = Reply(outcome.status, outcome.headers, response.read())
            except (httpx.TransportError, OSError) as error:
                return exchange.failed(error)
            return outcome

        flow = service.failover.call(exchange.call(), exchange.deadline)
        try:
            self._driver.run(flow, send)
        except KatoConsulError as error:
            return exchange.ended(error)
        except BaseException:  # whoever asked gave up
            _discard(exchange)
            raise
        assert exchange.response is not None
        return exchange.response

    def close(self) -> None:
        """End the watches and close every connection."""
        self._driver.close()
        self._inner.close()

    def _service(self, name: str) -> DiscoveredService:
        with self._meeting:
            service = self._services.get(name)
            if service is None:
                service = DiscoveredService.of(name, self._settings)
                for flow in service.discovery.watches():
                    self._driver.start(flow, f"kato-consul watch {name}")
                self._services[name] = service
            return service

    def _reset_in_child(self) -> None:
        """In a forked child: the watches are the parent's."""
        self._services = {}
        self._meeting = threading.Lock()


def _discard(exchange: Exchange) -> None:
    """The response of an attempt that another follows is nobody's."""
    response, exchange.response = exchange.response, None
    if response is not None:
        response.close()
