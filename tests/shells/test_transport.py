"""Plain httpx clients over our transports: any service of a real Consul, on real sockets."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import httpx
import pytest

from kato_consul._async.transport import AsyncDiscoveryTransport
from kato_consul._sync.transport import DiscoveryTransport
from kato_consul.models import Health
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent
from tests.shells import wire_server
from tests.shells.wire_server import Act, WireServer
from tests.testing.waiting import eventually

REFUSES: Act = wire_server.answer
"""Stands for an instance that is registered, and not there."""


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A Consul agent."""
    with ConsulAgent() as running:
        yield running


class Http(Protocol):
    """An httpx client of either kind, asked the same way."""

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request; its response, read."""

    def instances(self, service: str) -> list[Any]:
        """What the transport sees of a service."""

    def close(self) -> None:
        """Close the client."""


class SyncHttp:
    """httpx.Client."""

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
        """Close it."""
        self._client.close()


class AsyncHttp:
    """httpx.AsyncClient on a loop of its own, which runs in a thread as a server's would."""

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
        found: list[Any] = self._wait(self._transport.instances(service))
        return found

    def close(self) -> None:
        """Close it, and see that no task is left."""
        self._wait(self._client.aclose())
        assert self._wait(_others()) == []
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60.0)


async def _others() -> list[str]:
    mine = asyncio.current_task()
    return [str(task) for task in asyncio.all_tasks() if task is not mine]


Make = Callable[..., Http]


@pytest.fixture(params=["sync", "async"])
def http(request: pytest.FixtureRequest, agent: ConsulAgent) -> Iterator[Make]:
    """Makes a client of each kind, for the agent; closed at the end."""
    with ExitStack() as stack:

        def make(inner: Any = None, **given: Any) -> Http:
            settings = Settings(consul_addr=agent.http_addr, **{"deadline": 10.0, **given})
            kind = SyncHttp if request.param == "sync" else AsyncHttp
            made: Http = kind(settings, inner)
            stack.callback(made.close)
            return made

        yield make


class Registered:
    """Servers, registered under a name of their own; taken out again at the end."""

    def __init__(self, agent: ConsulAgent, name: str, *acts: Act) -> None:
        self._agent = agent
        self._stack = ExitStack()
        self.name = name
        self.servers = [self._stack.enter_context(WireServer(act)) for act in acts]
        self.dead: set[str] = set()

    def __enter__(self) -> "Registered":
        for number, server in enumerate(self.servers):
            self.put_in(number, int(server.origin.rsplit(":", 1)[1]))
        return self

    def put_in(self, number: int, port: int) -> None:
        """Register one, or register it anew at another port."""
        body = {"Name": self.name, "ID": f"{self.name}-{number}", "Address": "127.0.0.1"}
        self._put("register", {**body, "Port": port})

    def take_out(self, number: int) -> None:
        """Deregister one."""
        self._put(f"deregister/{self.name}-{number}", None)

    def put_in_a_dead_one(self, number: int) -> None:
        """Register an address where nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.put_in(number, port)

    @property
    def requests(self) -> int:
        """Requests that reached any."""
        return sum(len(server.requests) for server in self.servers)

    def __exit__(self, *_: object) -> None:
        for number in range(10):
            self.take_out(number)
        self._stack.close()

    def _put(self, what: str, body: Any) -> None:
        url = f"{self._agent.url}/v1/agent/service/{what}"
        httpx.put(url, json=body, trust_env=False).raise_for_status()


def statuses(code: int) -> Act:
    """Answers each request with a status."""
    words = b"HTTP/1.1 %d Whatever\r\ncontent-length: 4\r\n\r\nsaid" % code

    def act(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(words)

    return act


def test_found_by_name(http: Make, agent: ConsulAgent) -> None:
    """The host of a URL is a service's name; path, query, headers and body arrive as they were."""
    with Registered(agent, "orders", wire_server.answer) as orders:
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


def test_several_services(http: Make, agent: ConsulAgent) -> None:
    """One transport serves many services."""
    with (
        Registered(agent, "one", wire_server.answer) as one,
        Registered(agent, "two", wire_server.answer) as two,
    ):
        client = http()
        for name in ("one", "two", "two"):
            client.request("GET", f"http://{name}/")
        assert (one.requests, two.requests) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused(http: Make, agent: ConsulAgent, method: str) -> None:
    """What did not leave goes elsewhere, whatever the method."""
    with Registered(agent, "partly", wire_server.answer) as partly:
        partly.put_in_a_dead_one(1)
        client = http()
        for _ in range(8):
            assert client.request(method, "http://partly/").status_code == 200
        assert partly.requests == 8


@pytest.mark.parametrize("act", [wire_server.cut_at_once, wire_server.half_a_head])
def test_idempotent_is_repeated(http: Make, agent: ConsulAgent, act: Act) -> None:
    """A GET that was cut off is asked of another."""
    with Registered(agent, "cutting", act, wire_server.answer):
        client = http()
        for _ in range(6):
            assert client.request("GET", "http://cutting/").status_code == 200


def test_post_is_not_repeated(http: Make, agent: ConsulAgent) -> None:
    """A POST that was cut off may have been carried out: httpx's own error, and one request."""
    with Registered(agent, "cut", wire_server.cut_at_once, wire_server.cut_at_once) as cut:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            http().request("POST", "http://cut/", json={})
        assert cut.requests == 1


@pytest.mark.parametrize(
    ("method", "status", "requests"),
    [("GET", 500, 1), ("GET", 404, 1), ("GET", 503, 2), ("POST", 503, 1), ("GET", 429, 2)],
)
def test_statuses(http: Make, agent: ConsulAgent, method: str, status: int, requests: int) -> None:
    """A response is the answer; of those that say "not now" every instance is asked first."""
    with Registered(agent, "said", statuses(status), statuses(status)) as said:
        response = http(deadline=0.3).request(method, "http://said/")
        assert (response.status_code, response.text) == (status, "said")
        assert said.requests >= requests if status == 429 else said.requests == requests


def test_unknown_service(http: Make, agent: ConsulAgent) -> None:
    """A service that has nobody is a failure to connect, with our reason behind it."""
    with pytest.raises(httpx.ConnectError, match="no instance of 'nobody' can be used") as caught:
        http(deadline=2.0).request("GET", "http://nobody/")
    assert caught.value.__cause__ is not None


def test_streams(http: Make, agent: ConsulAgent) -> None:
    """A response may be read as it comes: the transport waits for its head only."""
    go_on = threading.Event()

    def slowly(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        go_on.wait(10.0)
        connection.sendall(b"half")

    with Registered(agent, "slow", slowly):
        settings = Settings(consul_addr=agent.http_addr)
        with (
            httpx.Client(transport=DiscoveryTransport(settings)) as client,
            client.stream("GET", "http://slow/") as response,
        ):
            chunks = response.iter_raw()
            assert next(chunks) == b"half"
            go_on.set()
            assert b"".join(chunks) == b"half"


def test_who_left_is_not_asked(http: Make, agent: ConsulAgent) -> None:
    """An instance that was deregistered gets no request, and its connection is closed."""
    closed = threading.Event()

    def stays(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(wire_server.OK)
        closed.set()

    with Registered(agent, "leaving", stays, wire_server.answer) as leaving:
        client = http()
        while not leaving.servers[0].requests:
            client.request("GET", "http://leaving/")
        leaving.take_out(0)
        assert eventually(lambda: len(client.instances("leaving")) == 1)
        before = len(leaving.servers[0].requests)
        for _ in range(5):
            client.request("GET", "http://leaving/")
        assert len(leaving.servers[0].requests) == before
        assert closed.wait(10.0)


def test_both_signals(http: Make, agent: ConsulAgent) -> None:
    """What Consul says of an instance, and what was seen of it."""
    with Registered(agent, "seen", wire_server.answer) as seen:
        seen.put_in_a_dead_one(1)
        client = http()
        for _ in range(8):
            client.request("GET", "http://seen/")
        well, dead = client.instances("seen")
    assert (well.instance.health, dead.instance.health) == (Health.PASSING, Health.PASSING)
    assert well.ejected_for == 0.0
    assert dead.ejected_for > 0.0


class Lying(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """An adapter that tells nothing of the wire, and calls whatever goes wrong a failure to
    connect, though the server had the request."""

    def __init__(self) -> None:
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Never answered."""
        self.requests += 1
        raise httpx.ConnectError("the server disconnected", request=request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Never answered."""
        return self.handle_request(request)


@pytest.mark.parametrize(("method", "least"), [("POST", 1), ("GET", 2)])
def test_an_engine_that_does_not_tell(
    http: Make, agent: ConsulAgent, method: str, least: int
) -> None:
    """It is not believed: what it failed at may have left, and is repeated only if it may be."""
    lying = Lying()
    with (
        Registered(agent, "lied", wire_server.answer, wire_server.answer),
        pytest.raises(httpx.ConnectError, match="the server disconnected"),
    ):
        http(lying, deadline=0.3).request(method, "http://lied/")
    assert lying.requests == 1 if method == "POST" else lying.requests >= least


def test_users_trace_is_told(http: Make, agent: ConsulAgent) -> None:
    """A trace that the user asked for goes on telling."""
    events: list[str] = []

    def trace(event: str, info: Any) -> None:
        events.append(event)

    settings = Settings(consul_addr=agent.http_addr)
    with (
        Registered(agent, "traced", wire_server.answer),
        httpx.Client(transport=DiscoveryTransport(settings)) as client,
    ):
        client.get("http://traced/", extensions={"trace": trace})
    assert "http11.send_request_headers.started" in events
