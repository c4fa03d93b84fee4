"""Discovery transports under plain httpx clients, with a real agent and real sockets."""

import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from kato_consul._sync.transport import DiscoveryTransport
from kato_consul.models import Health
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent
from tests.shells import wire_server
from tests.shells.httpx_clients import MakeHttp, Registered, clients, respond_with
from tests.shells.wire_server import Handler, WireServer
from tests.testing.waiting import eventually

LONG = 60.0
"""Seconds that a call may take, of which none of these takes a part."""


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


@pytest.mark.parametrize("status", [200, 502, 503])
def test_caller_may_stream_any_response(agent: ConsulAgent, status: int) -> None:
    """The raw body is there, also of a response that was read because it might be repeated."""
    with Registered(agent, "streamed", respond_with(status)):
        transport = DiscoveryTransport(Settings(consul_addr=agent.http_addr, deadline=10.0))
        with (
            httpx.Client(transport=transport) as client,
            client.stream("POST", "http://streamed/") as response,
        ):
            assert (response.status_code, b"".join(response.iter_raw())) == (status, b"body")


@pytest.mark.parametrize(("method", "status"), [("GET", 503), ("GET", 429), ("POST", 429)])
def test_attempt_that_the_deadline_cuts_short_leaves_the_last_response(
    http: MakeHttp, agent: ConsulAgent, method: str, status: int
) -> None:
    """If the deadline cuts the last attempt short, the response before it is returned. After a POST
    that was sent, it is not: the request may have been applied."""

    earlier_requests = itertools.count()

    def respond_once(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        if next(earlier_requests):
            server.ending.wait(10.0)
        connection.sendall(b"HTTP/1.1 %d Reason\r\ncontent-length: 4\r\n\r\nbody" % status)

    with Registered(agent, "once", respond_once, respond_once) as service:
        client = http(deadline=2.0)
        if method == "POST":
            with pytest.raises(httpx.ReadTimeout):
                client.request(method, "http://once/", json={})
        else:
            response = client.request(method, "http://once/")
            assert (response.status_code, response.text) == (status, "body")
        assert service.requests == 2


def test_service_without_instances_raises_connect_error(http: MakeHttp, agent: ConsulAgent) -> None:
    """A service without instances raises `httpx.ConnectError`, from the error with the reason."""
    with pytest.raises(
        httpx.ConnectError, match="no instance of 'no-such-service' can be used"
    ) as caught:
        http(deadline=2.0).request("GET", "http://no-such-service/")
    assert caught.value.__cause__ is not None


def test_wrong_name_of_a_service_is_told_with_the_right_ones(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """Consul's names are in the error of a service that it does not have, and of no other."""
    with Registered(agent, "orders", wire_server.respond_ok):
        client = http(deadline=LONG, wait_for_instances=0)
        with pytest.raises(httpx.ConnectError, match=r"Its services: consul, .*orders") as caught:
            client.request("GET", "http://order/", timeout=LONG)
        assert "kato-consul doctor --service order" in str(caught.value)


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


def test_sequential_requests_are_spread_over_idle_instances(
    http: MakeHttp, agent: ConsulAgent
) -> None:
    """Of two idle instances each serves some requests of a client that sends one at a time. (One
    that a busy machine made slow once gets fewer for a while.)"""
    with Registered(agent, "idle", wire_server.respond_ok, wire_server.respond_ok) as idle:
        client = http()

        def each_has_served_some() -> bool:
            for _ in range(10):
                assert client.request("GET", "http://idle/").status_code == 200
            return min(len(server.requests) for server in idle.servers) >= 5

        assert eventually(each_has_served_some)
        assert idle.requests < 2_000


def test_static_list_of_kato_is_not_used_for_another_service(agent: ConsulAgent) -> None:
    """``kato_urls`` serves the service of the settings only: with Consul, without it, and while it
    cannot be reached."""
    with Registered(agent, "orders", wire_server.respond_ok) as orders:
        with WireServer(wire_server.respond_ok) as kato:
            for address in (agent.http_addr, None, "127.0.0.1:1"):
                settings = Settings(kato_urls=(kato.origin,), consul_addr=address, deadline=5.0)
                transport = DiscoveryTransport(settings)
                with httpx.Client(transport=transport, timeout=2.0) as http:
                    if address != agent.http_addr:
                        assert http.get("http://kato/").status_code == 200
                        with pytest.raises(httpx.ConnectError):
                            http.get("http://orders/")
                    else:
                        assert http.get("http://orders/").status_code == 200
            assert len(kato.requests) == 2
        assert len(orders.servers[0].requests) == 1
