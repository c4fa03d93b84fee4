"""Many services in one process, at a real agent that accepts few connections from one address."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import httpx
import pytest

from kato_consul import (
    AsyncDiscoveryTransport,
    Discovery,
    DiscoveryTransport,
    Settings,
    Snapshot,
)
from kato_consul._consul.agent_load import MAX_BLOCKING
from kato_consul._discovery import watch_scheduler
from kato_consul._discovery.watch_scheduler import MAX_WORKERS
from kato_consul.testing import ConsulAgent
from tests.shells import wire_server
from tests.shells.sockets import connections_to, states_of_connections
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

SERVICES = 30
LIMIT = 20
"""Connections that the agent accepts from one address."""


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    """The only server: each service has an instance there."""
    with WireServer(wire_server.respond_ok) as running:
        yield running


@pytest.fixture
def agent(server: WireServer) -> Iterator[ConsulAgent]:
    """An agent that accepts few connections, with many services."""
    with ConsulAgent(config={"limits": {"http_max_conns_per_client": LIMIT}}) as running:
        with httpx.Client(base_url=running.url, trust_env=False) as http:
            for number in range(SERVICES):
                register(http, server, number, 1)
        yield running


def register(http: httpx.Client, server: WireServer, service: int, instance: int) -> None:
    """Register one more instance of a service."""
    body = {
        "Name": f"part-{service}",
        "ID": f"part-{service}-{instance}",
        "Address": "127.0.0.1",
        "Port": int(server.origin.rsplit(":", 1)[1]),
    }
    http.put("/v1/agent/service/register", json=body).raise_for_status()


class Transport(Protocol):
    """A transport of either shell under an httpx client, used by blocking calls."""

    def get(self, url: str) -> httpx.Response: ...

    def instances(self, service: str) -> int: ...

    def close(self) -> None: ...

    @property
    def workers(self) -> int: ...


class OnThreads:
    """`DiscoveryTransport`."""

    def __init__(self, settings: Settings) -> None:
        self.transport = DiscoveryTransport(settings)
        self._http = httpx.Client(transport=self.transport)

    def get(self, url: str) -> httpx.Response:
        return self._http.get(url)

    def instances(self, service: str) -> int:
        return len(self.transport.instances(service))

    @property
    def workers(self) -> int:
        return sum(one.name.startswith("kato-consul") for one in threading.enumerate())

    def close(self) -> None:
        self._http.close()
        assert eventually(lambda: self.workers == 0)


class OnTasks:
    """`AsyncDiscoveryTransport`, on an event loop in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.transport = AsyncDiscoveryTransport(settings)
        self._http = httpx.AsyncClient(transport=self.transport)

    def get(self, url: str) -> httpx.Response:
        return self._wait(self._http.get(url))  # type: ignore[no-any-return]

    def instances(self, service: str) -> int:
        return len(self._wait(self.transport.instances(service)))

    @property
    def workers(self) -> int:
        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return self._wait(count())  # type: ignore[no-any-return]

    def close(self) -> None:
        self._wait(self._http.aclose())
        assert self.workers == 0
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120.0)


MakeTransport = Callable[..., Transport]


@pytest.fixture(params=[OnThreads, OnTasks], ids=["threads", "tasks"])
def new_transport(
    request: pytest.FixtureRequest, agent: ConsulAgent, engine: str
) -> Iterator[MakeTransport]:
    """A function that creates transports, which are closed at the end."""
    with ExitStack() as stack:

        def create(**options: Any) -> Transport:
            settings = Settings(consul_addr=agent.http_addr, engine=engine, **options)
            transport: Transport = request.param(settings)
            stack.callback(transport.close)
            return transport

        yield create


def connections(agent: ConsulAgent) -> int:
    """Return the number of connections of this process to the agent."""
    return connections_to(port_of(agent))


def port_of(agent: ConsulAgent) -> int:
    """Return the port of the agent's HTTP interface."""
    return int(agent.http_addr.rsplit(":", 1)[1])


def get_all(transport: Transport) -> None:
    """Send a request to each service, and assert that it is served."""
    for number in range(SERVICES):
        assert transport.get(f"http://part-{number}/").status_code == 200


def test_all_are_served_over_few_connections(
    new_transport: MakeTransport, agent: ConsulAgent, server: WireServer
) -> None:
    """Each request is served, each change is seen, and connections and workers stay few."""
    transport = new_transport()
    port = port_of(agent)
    most: list[str] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.wait(0.01):
            now = states_of_connections(port)
            if len(now) > len(most):
                most[:] = now

    counting = threading.Thread(target=count)
    workers_before = transport.workers
    with ExitStack() as stack:
        stack.callback(counting.join)
        stack.callback(stop.set)
        counting.start()
        get_all(transport)
        assert transport.workers - workers_before <= MAX_WORKERS + 1  # and the counting thread
        with httpx.Client(base_url=agent.url, trust_env=False) as http:
            for number in range(SERVICES):
                register(http, server, number, 2)
        for number in range(SERVICES):
            name = f"part-{number}"
            assert eventually(lambda name=name: transport.instances(name) == 2)  # type: ignore[misc]
    assert 0 < len(most) <= MAX_WORKERS + 1, most  # and the connection that registers


def test_idle_services_are_not_watched(
    new_transport: MakeTransport,
    agent: ConsulAgent,
    server: WireServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without requests, watches and workers end; a later request starts them again."""
    monkeypatch.setattr(watch_scheduler, "IDLE_TIMEOUT", -9.0)  # from the deadline of a call
    transport = new_transport(deadline=10.0)
    before = transport.workers
    for instance in (2, 3):
        get_all(transport)
        assert transport.workers > before
        with httpx.Client(base_url=agent.url, trust_env=False) as http:

            def all_end(instance: int = instance, http: httpx.Client = http) -> bool:
                for number in range(SERVICES):  # a change ends a blocking query
                    register(http, server, number, instance)
                    http.put(f"/v1/agent/service/deregister/part-{number}-{instance}")
                return transport.workers == before

            assert eventually(all_end)
        assert eventually(lambda: connections(agent) == 0)


def test_agent_that_refuses_connections_is_waited_for(
    new_transport: MakeTransport, agent: ConsulAgent
) -> None:
    """Others use all of the agent's connections: calls wait until there is one, and none fails."""
    transport = new_transport()
    with ExitStack() as stack:
        open_connections = OpenConnections(agent, stack)
        assert eventually(lambda: open_connections.add() == LIMIT)
        served: list[int] = []
        calling = threading.Thread(
            target=lambda: served.append(transport.get("http://part-1/").status_code)
        )
        calling.start()
        assert eventually(lambda: last_error(transport, "part-1") is not None)
        stack.close()
        calling.join(60.0)
    assert served == [200]
    get_all(transport)


class OpenConnections:
    """Connections that the agent has accepted, and that stay open."""

    def __init__(self, agent: ConsulAgent, stack: ExitStack) -> None:
        host, port = agent.http_addr.split(":")
        self._address = (host, int(port))
        self._stack = stack
        self._accepted = 0

    def add(self) -> int:
        """Try to open one more; return how many there are."""
        one = self._stack.enter_context(socket.create_connection(self._address))
        try:
            one.sendall(b"GET /v1/status/leader HTTP/1.1\r\nhost: consul\r\n\r\n")
            self._accepted += one.recv(65536).startswith(b"HTTP/1.1 200 ")
        except OSError:
            pass  # refused
        return self._accepted


def last_error(transport: Any, name: str) -> object:
    """Return why the last read of a service failed."""
    service = transport.transport._services._services.get(name)
    return service and service.discovery.store.last_error


def test_many_discoveries_leave_connections_for_each_other(agent: ConsulAgent, engine: str) -> None:
    """Clients of one process share the blocking queries that it may have at an agent."""
    settings = [
        Settings(consul_addr=agent.http_addr, service=f"part-{number}", engine=engine)
        for number in range(SERVICES)
    ]
    with ExitStack() as stack:
        discoveries = [stack.enter_context(Discovery(each)) for each in settings]
        snapshots: list[Snapshot] = [each.snapshot() for each in discoveries]
        assert all(len(each.usable) == 1 for each in snapshots)
        assert eventually(lambda: connections(agent) <= MAX_BLOCKING + 2)
