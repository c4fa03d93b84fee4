"""httpx clients of both kinds on a discovery transport, and services for them."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import httpx

from kato_consul._async.transport import AsyncDiscoveryTransport
from kato_consul._sync.transport import DiscoveryTransport
from kato_consul.settings import Settings
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.shells.wire_server import Handler, WireServer


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


@contextmanager
def clients(kind: str, agent: ConsulAgent) -> Iterator[MakeHttp]:
    """Yield a function that makes clients of a kind for the agent, which are closed at the end."""
    with ExitStack() as stack:

        def make(inner: Any = None, **options: Any) -> Http:
            settings = Settings(consul_addr=agent.http_addr, **{"deadline": 10.0, **options})
            client: Http = (SyncHttp if kind == "sync" else AsyncHttp)(settings, inner)
            stack.callback(client.close)
            return client

        yield make
