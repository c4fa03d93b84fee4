"""Discovery transports under plain httpx clients, with a real agent and real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import httpx
import pytest

from kato_consul._async.transport import AsyncDiscoveryTransport
from kato_consul._sync.transport import DiscoveryTransport
from kato_consul.models import Health
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.shells import wire_server
from tests.shells.wire_server import Handler, WireServer
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A Consul agent."""
    with ConsulAgent() as running:
        yield running


class Http(Protocol):
    """A sync or async httpx client, used by blocking calls."""

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send one request and return its response, with its body read."""

    def instances(self, service: str) -> list[Any]:
        """Return the instances of a service, as the transport reports them."""

    def close(self) -> None:
        """Close the client."""


class SyncHttp:
    """A client of the class httpx.Client."""

    def __init__(self, settings: Settings, inner: Any = None) -> None:
        self._transport = DiscoveryTransport(settings, inner=inner)
        self._client = httpx.Client(transport=self._transport)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request."""
        return self._client.request(method, url, **options)

    def instances(self, service: str) -> list[Any]:
        """What it sees."""
        return self._transport.instances(service)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class AsyncHttp:
    """httpx.AsyncClient on an event loop that runs in a thread of its own."""

    def __init__(self, settings: Settings, inner: Any = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._transport = AsyncDiscoveryTransport(settings, inner=inner)
        self._client = httpx.AsyncClient(transport=self._transport)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request."""
        response: httpx.Response = self._wait(self._client.request(method, url, **options))
        return response

    def instances(self, service: str) -> list[Any]:
        """What it sees."""
        views: list[Any] = self._wait(self._transport.instances(service))
        return views

    def close(self) -> None:
        """Close the client, and assert that no task is left."""
        self._wait(self._client.aclose())
        assert self._wait(_other_tasks()) == []
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60.0)


async def _other_tasks() -> list[str]:
    current = asyncio.current_task()
    return [str(task) for task in asyncio.all_tasks() if task is not current]


MakeHttp = Callable[..., Http]


@pytest.fixture(params=["sync", "async"])
def http(request: pytest.FixtureRequest, agent: ConsulAgent) -> Iterator[MakeHttp]:
    """A function that makes clients of each kind for the agent, which are closed at the end."""
    with ExitStack() as stack:

        def make(inner: Any = None, **options: Any) -> Http:
            settings = Settings(consul_addr=agent.http_addr, **{"deadline": 10.0, **options})
            kind = SyncHttp if request.param == "sync" else AsyncHttp
            client: Http = kind(settings, inner)
            stack.callback(client.close)
            return client

        yield make


class Registered:
    """Servers, registered as instances of one service; deregistered at the end."""

    def __init__(self, agent: ConsulAgent, name: str, *acts: Handler) -> None:
        self._agent = agent
        self._stack = ExitStack()
        self.name = name
        self.servers = [self._stack.enter_context(WireServer(handler)) for handler in acts]

    def __enter__(self) -> "Registered":
        for number, server in enumerate(self.servers):
            self.register(number, int(server.origin.rsplit(":", 1)[1]))
        return self

    def register(self, number: int, port: int, address: str = "127.0.0.1") -> None:
        """Register an instance, or update its port and address."""
        body = {"Name": self.name, "ID": f"{self.name}-{number}", "Address": address}
        self._put("register", {**body, "Port": port})

    def deregister(self, number: int) -> None:
        """Deregister an instance."""
        self._put(f"deregister/{self.name}-{number}", None)

    def register_unreachable(self, number: int) -> None:
        """Register an instance at a port on which nothing listens."""
        (port,) = free_ports(1)
        self.register(number, port)

    @property
    def requests(self) -> int:
        """Number of requests that reached a server."""
        return sum(len(server.requests) for server in self.servers)

    def __exit__(self, *_: object) -> None:
        for number in range(10):
            self.deregister(number)
        self._stack.close()

    def _put(self, path: str, body: Any) -> None:
        url = f"{self._agent.url}/v1/agent/service/{path}"
        httpx.put(url, json=body, trust_env=False).raise_for_status()


def respond_with(status: int) -> Handler:
    """Return a handler that responds to every request with a status."""
    response = b"HTTP/1.1 %d Reason\r\ncontent-length: 4\r\n\r\nbody" % status

    def handler(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(response)

    return handler


def test_host_of_url_is_resolved_as_a_service(http: MakeHttp, agent: ConsulAgent) -> None:
    """The host of a URL is the service's name; path, query, headers and body arrive unchanged."""
    with Registered(agent, "orders", wire_server.respond_ok) as orders:
        response = http().request(
            "POST", "http://orders/v1/new?x=1&y=a%20b", json={"a": 1}, headers={"x-id": "7"}
        )
        assert (response.status_code, response.json()) == (200, {})
        assert str(response.url) == "http://orders/v1/new?x=1&y=a%20b"
        (request,) = orders.servers[0].requests
    assert request.startswith(b"POST /v1/new?x=1&y=a%20b HTTP/1.1\r\n")
    assert b"host: orders\r\n" in request.lower()
    assert b"x-id: 7\r\n" in request.lower()
    assert request.endswith(b'{"a":1}')


def test_invalid_addresses_in_consul_cost_no_request(http: MakeHttp, agent: ConsulAgent) -> None:
    """Consul accepts any address and port. Requests are served by the instances with valid ones.

    A name such as ``xn--`` is valid as text, and is refused only when it is used."""
    with Registered(agent, "odd", wire_server.respond_ok) as odd:
        for number, (address, port) in enumerate(
            [("127.0.0.1", 99_999), ("127.0.0.1", -7), ("http://127.0.0.1", 80), ("xn--", 80)], 1
        ):
            odd.register(number, port, address)
        client = http()
        assert eventually(lambda: len(client.instances("odd")) == 5)
        for _ in range(20):
            assert client.request("POST", "http://odd/").status_code == 200
        assert odd.requests == 20
        odd.deregister(1)  # closes the connections to it
        assert eventually(lambda: len(client.instances("odd")) == 4)
        assert client.request("POST", "http://odd/").status_code == 200


def test_one_transport_reaches_several_services(http: MakeHttp, agent: ConsulAgent) -> None:
    """One transport sends requests to each service that a URL names."""
    with (
        Registered(agent, "one", wire_server.respond_ok) as one,
        Registered(agent, "two", wire_server.respond_ok) as two,
    ):
        client = http()
        for name in ("one", "two", "two"):
            client.request("GET", f"http://{name}/")
        assert (one.requests, two.requests) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_that_was_not_sent_goes_to_another_instance(
    http: MakeHttp, agent: ConsulAgent, method: str
) -> None:
    """If the connection is refused, a request of any method goes to another instance."""
    with Registered(agent, "partly", wire_server.respond_ok) as partly:
        partly.register_unreachable(1)
        client = http()
        for _ in range(8):
            assert client.request(method, "http://partly/").status_code == 200
        assert partly.requests == 8


@pytest.mark.parametrize(
    "handler", [wire_server.close_without_response, wire_server.truncate_headers]
)
def test_get_that_was_cut_is_retried(http: MakeHttp, agent: ConsulAgent, handler: Handler) -> None:
    """A GET whose connection was cut is sent to another instance."""
    with Registered(agent, "cutting", handler, wire_server.respond_ok):
        client = http()
        for _ in range(6):
            assert client.request("GET", "http://cutting/").status_code == 200


def test_post_that_was_cut_is_not_retried(http: MakeHttp, agent: ConsulAgent) -> None:
    """A POST whose connection was cut may have been applied: httpx's own error is raised."""
    with Registered(
        agent, "cut", wire_server.close_without_response, wire_server.close_without_response
    ) as cut:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            http().request("POST", "http://cut/", json={})
        assert cut.requests == 1


@pytest.mark.parametrize(
    ("method", "status", "requests"),
    [("GET", 500, 1), ("GET", 404, 1), ("GET", 503, 2), ("POST", 503, 1), ("GET", 429, 2)],
)
def test_last_response_is_returned_and_503_and_429_are_retried(
    http: MakeHttp, agent: ConsulAgent, method: str, status: int, requests: int
) -> None:
    """Any status is returned; a GET is retried after a 503 or a 429, on every instance."""
    with Registered(agent, "status", respond_with(status), respond_with(status)) as service:
        deadline = 2.0 if status == 429 else 10.0  # a 429 is repeated until then
        response = http(deadline=deadline).request(method, "http://status/")
        assert (response.status_code, response.text) == (status, "body")
        sent = service.requests
        assert sent >= requests if status == 429 else sent == requests


def test_service_without_instances_raises_connect_error(http: MakeHttp, agent: ConsulAgent) -> None:
    """A service without instances raises `httpx.ConnectError`, from the error with the reason."""
    with pytest.raises(
        httpx.ConnectError, match="no instance of 'no-such-service' can be used"
    ) as caught:
        http(deadline=2.0).request("GET", "http://no-such-service/")
    assert caught.value.__cause__ is not None


def test_response_body_can_be_streamed(agent: ConsulAgent) -> None:
    """The transport waits only for the headers; the body can be read as it arrives."""
    first_half_read = threading.Event()

    def send_in_halves(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        first_half_read.wait(10.0)
        connection.sendall(b"half")

    with Registered(agent, "slow", send_in_halves):
        settings = Settings(consul_addr=agent.http_addr)
        with (
            httpx.Client(transport=DiscoveryTransport(settings)) as client,
            client.stream("GET", "http://slow/") as response,
        ):
            chunks = response.iter_raw()
            assert next(chunks) == b"half"
            first_half_read.set()
            assert b"".join(chunks) == b"half"


def test_deregistered_instance_gets_no_request(http: MakeHttp, agent: ConsulAgent) -> None:
    """A deregistered instance gets no further request, and its connection is closed."""
    closed = threading.Event()

    def keep_open(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(wire_server.OK)
        closed.set()

    with Registered(agent, "leaving", keep_open, wire_server.respond_ok) as leaving:
        client = http()
        while not leaving.servers[0].requests:
            client.request("GET", "http://leaving/")
        leaving.deregister(0)
        assert eventually(lambda: len(client.instances("leaving")) == 1)
        before = len(leaving.servers[0].requests)
        for _ in range(5):
            client.request("GET", "http://leaving/")
        assert len(leaving.servers[0].requests) == before
        assert closed.wait(10.0)


def test_instances_report_health_and_ejection(http: MakeHttp, agent: ConsulAgent) -> None:
    """`instances` returns the health in Consul, and the ejection by this client."""
    with Registered(agent, "mixed", wire_server.respond_ok) as mixed:
        mixed.register_unreachable(1)
        client = http()
        for _ in range(8):
            client.request("GET", "http://mixed/")
        reachable, unreachable = client.instances("mixed")
    assert reachable.instance.health is Health.PASSING
    assert unreachable.instance.health is Health.PASSING
    assert reachable.ejected_for == 0.0
    assert unreachable.ejected_for > 0.0


class UntracedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A transport that traces nothing, and reports a lost connection as a failure to connect.

    The server received the request nevertheless.
    """

    def __init__(self) -> None:
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Count the request and raise."""
        self.requests += 1
        raise httpx.ConnectError("the server disconnected", request=request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Count the request and raise."""
        return self.handle_request(request)


@pytest.mark.parametrize(("method", "least"), [("POST", 1), ("GET", 2)])
def test_failure_of_an_untraced_transport_may_have_been_sent(
    http: MakeHttp, agent: ConsulAgent, method: str, least: int
) -> None:
    """Without a trace, a failed request may have been sent: only a GET is retried."""
    transport = UntracedTransport()
    with (
        Registered(agent, "untraced", wire_server.respond_ok, wire_server.respond_ok),
        pytest.raises(httpx.ConnectError, match="the server disconnected"),
    ):
        http(transport, deadline=2.0).request(method, "http://untraced/")
    assert transport.requests == 1 if method == "POST" else transport.requests >= least


def test_trace_extension_of_the_caller_is_called(agent: ConsulAgent) -> None:
    """A trace extension that the caller gives receives the events."""
    events: list[str] = []

    def trace(event: str, info: Any) -> None:
        events.append(event)

    settings = Settings(consul_addr=agent.http_addr)
    with (
        Registered(agent, "traced", wire_server.respond_ok),
        httpx.Client(transport=DiscoveryTransport(settings)) as client,
    ):
        client.get("http://traced/", extensions={"trace": trace})
    assert "http11.send_request_headers.started" in events


# --- times ----------------------------------------------------------------------------------


def hang(server: WireServer, connection: socket.socket) -> None:
    """Read each request, and never respond."""
    while server.read(connection):
        pass


def trickle_head(server: WireServer, connection: socket.socket) -> None:
    """Send the head of a response one byte at a time, and never all of it."""
    server.read(connection)
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-trickle: ")
        while not server.ending.wait(0.05):
            connection.sendall(b"x")


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long a call took that raised an httpx error."""
    started = time.monotonic()
    with pytest.raises(httpx.TransportError):
        call()
    return time.monotonic() - started


LONG = 60.0
"""Seconds that a call would take if the time limit in question had no effect."""


def test_wait_for_an_instance_is_limited_by_the_pool_timeout(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """Of httpx's timeouts, `pool` is the time to wait for an instance."""
    client = http(deadline=LONG)
    with pytest.raises(httpx.ConnectError, match="Consul has not listed any yet"):
        client.request("GET", "http://none/", timeout=httpx.Timeout(LONG, pool=0.2))
    assert seconds_of(lambda: client.request("GET", "http://none/", timeout=0.2)) < LONG / 2


def test_settings_limit_the_wait_for_an_instance(http: MakeHttp, agent: ConsulAgent) -> None:
    """With 0, a call fails as soon as Consul has listed no instance."""
    client = http(deadline=LONG, wait_for_instances=0)
    assert seconds_of(lambda: client.request("GET", "http://none/", timeout=LONG)) < LONG / 2


@pytest.mark.parametrize("handler", [hang, trickle_head])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_timeouts_of_the_request_limit_the_call(
    http: MakeHttp, agent: ConsulAgent, handler: Handler, method: str
) -> None:
    """A call on instances that hang ends after the sum of its timeouts, with httpx's error."""
    with Registered(agent, "hanging", handler, handler, handler) as hanging:
        client = http(deadline=LONG, attempt_timeout=LONG)

        def call() -> None:
            client.request(method, "http://hanging/", timeout=0.3)

        with pytest.raises(httpx.ReadTimeout):
            call()
        assert hanging.requests == 1 or method == "GET"
        assert seconds_of(call) < LONG / 2


@pytest.mark.parametrize("handler", [hang, trickle_head])
def test_deadline_limits_the_end_of_a_call(
    http: MakeHttp, agent: ConsulAgent, handler: Handler
) -> None:
    """Also the last attempt ends at the deadline, if httpx's own timeouts are longer or none."""
    with Registered(agent, "late", handler):
        client = http(deadline=0.5)
        for timeout in (LONG, None):
            call = partial(client.request, "GET", "http://late/", timeout=timeout)
            assert seconds_of(call) < LONG / 2


def test_connect_timeout_of_the_request(http: MakeHttp, agent: ConsulAgent) -> None:
    """A connection that is not accepted in time is httpx's own timeout, and was not sent."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # the kernel accepts no more connections
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        service = stack.enter_context(Registered(agent, "full"))
        service.register(1, full.getsockname()[1])
        client = http(deadline=LONG)
        with pytest.raises(httpx.ConnectTimeout):
            client.request("POST", "http://full/", timeout=httpx.Timeout(0.3, connect=0.1))


def test_body_of_a_response_may_take_longer_than_the_deadline(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """After the head, only httpx's own read timeout applies, to each read."""

    def send_slowly(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            server.ending.wait(0.1)
            connection.sendall(b"x")

    with Registered(agent, "long", send_slowly):
        response = http(deadline=0.5).request("GET", "http://long/", timeout=LONG)
        assert response.text == "x" * 10


def test_closed_transport_raises_as_a_closed_httpx_client(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """A request after the close raises RuntimeError, for services it knew and for others."""
    with Registered(agent, "known", wire_server.respond_ok):
        settings = Settings(consul_addr=agent.http_addr)
        transport = DiscoveryTransport(settings)
        httpx.Client(transport=transport).get("http://known/")
        transport.close()
        async_transport = AsyncDiscoveryTransport(settings)

        async def close_and_send(name: str) -> None:
            await async_transport.aclose()
            await httpx.AsyncClient(transport=async_transport).get(f"http://{name}/")

        for name in ("known", "unknown"):
            with pytest.raises(RuntimeError, match="cannot send a request: this client is closed"):
                httpx.Client(transport=transport).get(f"http://{name}/")
            with pytest.raises(RuntimeError, match="cannot send a request: this client is closed"):
                asyncio.run(close_and_send(name))


def test_close_during_a_wait_raises_an_httpx_error(agent: ConsulAgent) -> None:
    """A request that waits for an instance fails as one whose connection is closed."""
    transport = DiscoveryTransport(Settings(consul_addr=agent.http_addr, deadline=LONG))
    errors: list[BaseException] = []

    def call() -> None:
        try:
            httpx.Client(transport=transport, timeout=None).get("http://none/")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    services = transport._services._services
    assert eventually(
        lambda: "none" in services and services["none"].discovery.store.current is not None
    )
    transport.close()
    calling.join(LONG)
    assert [type(error) for error in errors] == [httpx.ConnectError]


def test_sequential_requests_are_spread_over_idle_instances(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """Of two idle instances each serves some requests of a client that sends one at a time."""
    with Registered(agent, "idle", wire_server.respond_ok, wire_server.respond_ok) as idle:
        client = http()
        for _ in range(40):
            assert client.request("GET", "http://idle/").status_code == 200
        assert min(len(server.requests) for server in idle.servers) >= 5
