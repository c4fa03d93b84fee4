"""Time limits of discovery transports, and what they raise after their end, with real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import httpx
import pytest

from kato_consul._async.transport import AsyncDiscoveryTransport
from kato_consul._http.discovered_service import Exchange
from kato_consul._runtime_defaults import clock
from kato_consul._sync.transport import DiscoveryTransport
from kato_consul.errors import RequestNotSent
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.shells import wire_server
from tests.shells.httpx_clients import MakeHttp, Registered, clients
from tests.shells.wire_server import Handler, WireServer
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def http(request: pytest.FixtureRequest, agent: ConsulAgent) -> Iterator[MakeHttp]:
    """A function that makes clients of each kind for the agent, which are closed at the end."""
    with clients(request.param, agent) as make:
        yield make


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


def respond_in_plain_http(server: WireServer, connection: socket.socket) -> None:
    """Respond to whatever comes, such as the begin of a TLS handshake, as an HTTP server does."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


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
    with pytest.raises(httpx.ConnectError, match=r"Consul (lists none|has not answered yet)"):
        client.request("GET", "http://none/", timeout=httpx.Timeout(LONG, pool=0.2))
    assert seconds_of(lambda: client.request("GET", "http://none/", timeout=0.2)) < LONG / 2


def test_settings_limit_the_wait_for_an_instance(http: MakeHttp, agent: ConsulAgent) -> None:
    """With 0, a call fails as soon as Consul has listed no instance."""
    client = http(deadline=LONG, wait_for_instances=0)
    assert seconds_of(lambda: client.request("GET", "http://none/", timeout=LONG)) < LONG / 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_https_to_instances_that_speak_http_is_not_retried(
    http: MakeHttp, agent: ConsulAgent, method: str
) -> None:
    """No time mends it: each instance is tried once, and the error says what to write."""
    with Registered(agent, "plain", respond_in_plain_http, respond_in_plain_http) as plain:
        client = http(deadline=LONG)
        with pytest.raises(httpx.ConnectError, match="it speaks http: use http://plain"):
            client.request(method, "https://plain/x", timeout=LONG)
        assert [server.connections for server in plain.servers] == [1, 1]


@pytest.mark.parametrize("host", ["127.0.0.1:18101", "[::1]:18101"])
def test_address_in_place_of_a_service_is_refused(
    http: MakeHttp, agent: ConsulAgent, host: str
) -> None:
    """At once, since an address is the name of no service."""
    client = http(deadline=LONG)
    with pytest.raises(httpx.ConnectError, match="must be the name of a service in Consul"):
        client.request("GET", f"http://{host}/x", timeout=LONG)


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
        full = stack.enter_context(socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=0))
        for _ in range(4):  # the kernel accepts no more connections
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        service = stack.enter_context(Registered(agent, "full"))
        service.register(1, full.getsockname()[1])
        client = http(deadline=LONG)
        with pytest.raises(httpx.ConnectTimeout):
            client.request("POST", "http://full/", timeout=httpx.Timeout(0.3, connect=0.1))


@pytest.mark.parametrize("first", [httpx.ConnectError, httpx.ConnectTimeout])
def test_attempt_that_the_deadline_cut_short_is_no_reason(
    first: type[httpx.TransportError],
) -> None:
    """The exception is that of the attempts before it, whose reason the text has."""
    exchange = Exchange(httpx.Request("GET", "http://orders/"), Settings(), True, None)
    exchange.record_failure(first("the reason"))
    exchange.deadline = clock()
    exchange.record_failure(httpx.ConnectTimeout("no time was left"))
    with pytest.raises(httpx.TransportError) as caught:
        exchange.final_response(RequestNotSent("no instance answered before the deadline"))
    assert type(caught.value) is first


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
