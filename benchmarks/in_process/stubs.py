"""Stubs that remove the network: an engine that responds at once, and stub connections.

With `StubEngine` or `AsyncStubEngine` what remains is the client without its engine. With
`stub_connections` the client's own engine runs, over a stub socket or transport.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from benchmarks.in_process.lone_directory import LoneDirectory
from benchmarks.testbed.kato_responses import PreparedKato, as_http
from kato_consul import AsyncKatoClient, KatoClient
from kato_consul._async.engines import httptools_engine as async_engine
from kato_consul._flow import Outcome, Send
from kato_consul._sync.engines import httptools_engine as sync_engine
from kato_consul.models import Instance, Snapshot
from kato_consul.testing.clock import ManualClock


def make_snapshot(size: int) -> Snapshot:
    """Return the snapshot of a service with ``size`` instances."""
    instances = (
        Instance(f"kato-{n:04}", "kato", f"10.0.{n >> 8}.{n & 255}", 8000) for n in range(size)
    )
    return Snapshot("kato", tuple(instances), 1)


C = TypeVar("C", AsyncKatoClient, KatoClient)


def with_snapshot(client: C, snapshot: Snapshot) -> C:
    """Publish a snapshot to the client and disable its watch: no Consul is needed."""
    client.discovery._watching = True
    client.discovery._service.store.publish(snapshot)
    return client


def with_lone_directory(client: C) -> C:
    """Replace the client's session directory, which its settings name, by a `LoneDirectory`."""
    assert client._shared is not None
    client._shared._owned.directory = LoneDirectory()
    return client


def with_fixed_clock(client: C) -> C:
    """Stop the client's clock, so that time-dependent work is the same in each run."""
    failover = client._factory.api.failover
    failover.clock = failover.pool._clock = ManualClock()
    return client


class AsyncStubEngine:
    """An `AsyncEngine` that responds at once."""

    def __init__(self) -> None:
        self._kato = PreparedKato()

    async def send(self, step: Send) -> Outcome:
        """Return the prepared response."""
        return self._kato.reply(step)

    async def close_origin(self, origin: str) -> None:
        """Do nothing: there are no connections."""

    async def close(self) -> None:
        """Do nothing: there are no connections."""


class StubEngine:
    """An `Engine` that responds at once."""

    def __init__(self) -> None:
        self._kato = PreparedKato()

    def send(self, step: Send) -> Outcome:
        """Return the prepared response."""
        return self._kato.reply(step)

    def close_origin(self, origin: str) -> None:
        """Do nothing: there are no connections."""

    def interrupt(self) -> None:
        """Do nothing: no request is ever waiting."""

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def reset_after_fork(self) -> None:
        """Do nothing: there are no connections."""


def with_async_stub_engine(client: AsyncKatoClient) -> AsyncKatoClient:
    """Replace the client's engine by one that responds at once."""
    client.discovery._driver._engine = AsyncStubEngine()
    return client


def with_stub_engine(client: KatoClient) -> KatoClient:
    """Replace the client's engine by one that responds at once."""
    client.discovery._driver._engine = StubEngine()
    return client


def _target(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode()


class _Transport:
    """The part of an asyncio transport that the engine uses; each write is answered at once."""

    def __init__(self, kato: PreparedKato, idle_fd: int) -> None:
        self._kato = kato
        self._idle_fd = idle_fd
        self.protocol: asyncio.Protocol

    def fileno(self) -> int:
        return self._idle_fd

    def get_extra_info(self, name: str) -> object:
        return self

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, request: bytes) -> None:
        self.protocol.data_received(as_http(self._kato.body(_target(request))))

    def abort(self) -> None:
        self.protocol.connection_lost(None)


class _Socket:
    """The part of a socket that the sync engine uses; each send is answered at once."""

    def __init__(self, kato: PreparedKato, idle_fd: int) -> None:
        self._kato = kato
        self._idle_fd = idle_fd
        self._response = b""

    def fileno(self) -> int:
        return self._idle_fd

    def settimeout(self, seconds: float) -> None:
        pass

    def sendall(self, request: bytes) -> None:
        self._response = as_http(self._kato.body(_target(request)))

    def recv(self, size: int) -> bytes:
        response, self._response = self._response, b""
        return response

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


@contextlib.contextmanager
def stub_connections() -> Iterator[None]:
    """Within the block, new connections of both engines lead to a `PreparedKato` in memory."""
    idle_fd, write_fd = os.pipe()  # never readable, so a poll for a closed connection finds none
    kato = PreparedKato()

    async def connect_async(
        pool: async_engine._ConnectionPool, timeout: float
    ) -> async_engine._Connection:
        connection, transport = async_engine._Connection(pool), _Transport(kato, idle_fd)
        transport.protocol = connection
        connection.connection_made(cast("asyncio.Transport", transport))
        return connection

    def connect_sync(endpoint: object, timeout: float) -> _Socket:
        return _Socket(kato, idle_fd)

    with contextlib.ExitStack() as undo:
        undo.callback(os.close, idle_fd)
        undo.callback(os.close, write_fd)
        _replace(undo, async_engine._ConnectionPool, "connect", connect_async)
        _replace(undo, sync_engine, "_connect", connect_sync)
        _replace(undo, sync_engine._Connection, "shut_down", lambda self: None)
        yield


def _replace(
    undo: contextlib.ExitStack, owner: object, name: str, value: Callable[..., object]
) -> None:
    undo.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)
