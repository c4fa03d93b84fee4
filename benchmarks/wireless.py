"""Clients without a wire: their own work, and nothing of the kernel's.

Either the engine is another one, which answers at once (`AnsweringAsync`, `Answering`): what is
left is all that is ours but the engine. Or it is the client's own, over a socket that is none
(`wired`).
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from benchmarks.canned import Kato, on_the_wire
from kato_consul import AsyncKatoClient, KatoClient
from kato_consul._async import engine_httptools as of_asyncio
from kato_consul._flow import Outcome, Send
from kato_consul._sync import engine_httptools as of_threads
from kato_consul.models import Instance, Snapshot
from kato_consul.testing.clock import ManualClock


def snapshot(size: int) -> Snapshot:
    """A service of so many instances."""
    instances = (
        Instance(f"kato-{n:04}", "kato", f"10.0.{n >> 8}.{n & 255}", 8000) for n in range(size)
    )
    return Snapshot("kato", tuple(instances), 1)


C = TypeVar("C", AsyncKatoClient, KatoClient)


def known(client: C, instances: Snapshot) -> C:
    """The client, as if Consul had told it of these instances; it asks no Consul."""
    client.discovery._watching = True
    client.discovery._service.store.publish(instances)
    return client


def timeless(client: C) -> C:
    """The client, with a clock that stands: what goes by the second comes out alike."""
    failover = client._factory.api.failover
    failover.clock = failover.pool._clock = ManualClock()
    return client


class AnsweringAsync:
    """An `AsyncEngine` that answers at once."""

    def __init__(self) -> None:
        self._kato = Kato()

    async def send(self, step: Send) -> Outcome:
        """The answer."""
        return self._kato.reply(step)

    async def close_origin(self, origin: str) -> None:
        """There is nothing to drop."""

    async def close(self) -> None:
        """There is nothing to close."""


class Answering:
    """An `Engine` that answers at once."""

    def __init__(self) -> None:
        self._kato = Kato()

    def send(self, step: Send) -> Outcome:
        """The answer."""
        return self._kato.reply(step)

    def close_origin(self, origin: str) -> None:
        """There is nothing to drop."""

    def interrupt(self) -> None:
        """There is nothing to interrupt."""

    def close(self) -> None:
        """There is nothing to close."""

    def reset_after_fork(self) -> None:
        """There is nothing to forget."""


def without_engine_async(client: AsyncKatoClient) -> AsyncKatoClient:
    """The client, with an engine that answers at once."""
    client.discovery._driver._engine = AnsweringAsync()
    return client


def without_engine(client: KatoClient) -> KatoClient:
    """The client, with an engine that answers at once."""
    client.discovery._driver._engine = Answering()
    return client


def _target(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode()


class _Transport:
    """What asyncio's engine sees of a connection: each write is answered within it."""

    def __init__(self, kato: Kato, quiet: int) -> None:
        self._kato = kato
        self._quiet = quiet
        self.protocol: asyncio.Protocol

    def fileno(self) -> int:
        return self._quiet

    def get_extra_info(self, name: str) -> object:
        return self

    def is_closing(self) -> bool:
        return False

    def write(self, request: bytes) -> None:
        self.protocol.data_received(on_the_wire(self._kato.body(_target(request))))

    def abort(self) -> None:
        self.protocol.connection_lost(None)


class _Socket:
    """What the engine for threads sees of a connection."""

    def __init__(self, kato: Kato, quiet: int) -> None:
        self._kato = kato
        self._quiet = quiet
        self._answer = b""

    def fileno(self) -> int:
        return self._quiet

    def settimeout(self, seconds: float) -> None:
        pass

    def sendall(self, request: bytes) -> None:
        self._answer = on_the_wire(self._kato.body(_target(request)))

    def recv(self, size: int) -> bytes:
        answer, self._answer = self._answer, b""
        return answer

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


@contextlib.contextmanager
def wired() -> Iterator[None]:
    """Within it, a new connection of either engine leads to a `Kato` in this process."""
    quiet, other = os.pipe()  # one on which nothing ever arrives, to be polled
    kato = Kato()

    async def connect(pool: of_asyncio._Pool) -> of_asyncio._Connection:
        connection, transport = of_asyncio._Connection(pool), _Transport(kato, quiet)
        transport.protocol = connection
        connection.connection_made(cast("asyncio.Transport", transport))
        return connection

    def connected(where: object, within: float) -> _Socket:
        return _Socket(kato, quiet)

    with contextlib.ExitStack() as undo:
        undo.callback(os.close, quiet)
        undo.callback(os.close, other)
        _replace(undo, of_asyncio._Pool, "connect", connect)
        _replace(undo, of_threads, "_connect", connected)
        _replace(undo, of_threads._Connection, "shut", lambda self: None)
        yield


def _replace(undo: contextlib.ExitStack, of: object, name: str, by: Callable[..., object]) -> None:
    undo.callback(setattr, of, name, getattr(of, name))
    setattr(of, name, by)
