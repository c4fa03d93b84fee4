"""Clients of Consul's session directory, each with a driver and its background flows."""

import asyncio
import itertools
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Self, TypeVar

import msgspec

from kato_consul._async.driver import AsyncDriver
from kato_consul._directory.consul_directory import ConsulDirectory
from kato_consul._directory.directory import Held, Stored
from kato_consul._directory.entry import Entry
from kato_consul._flow import Flow
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings

T = TypeVar("T")

Shell = Literal["sync", "async"]

WITHIN = 60.0
"""Seconds of a call, unless the test is about its deadline."""


class LoopDriver:
    """An async driver on an event loop of its own, for blocking calls."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._driver = AsyncDriver(settings)

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return asyncio.run_coroutine_threadsafe(self._driver.run(flow), self._loop).result()

    def start(self, flow: Flow[Any], name: str) -> None:
        """Run a flow in the background."""

        async def start() -> None:
            self._driver.start(flow, name)

        asyncio.run_coroutine_threadsafe(start(), self._loop).result()

    def close(self) -> None:
        """Close the driver and its loop."""
        asyncio.run_coroutine_threadsafe(self._driver.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class DirectoryClient:
    """One client object: a directory and what runs its flows, as a context manager.

    Args:
        address: Consul's address, as in ``Settings.consul_addr``.
        service: the service's name.
        shell: which driver runs the flows.
        settings: further settings.
    """

    def __init__(
        self, address: str, service: str = "kato", *, shell: Shell = "sync", **settings: Any
    ) -> None:
        self.settings = Settings(consul_addr=address, service=service, trust_env=False, **settings)
        self.directory = ConsulDirectory(self.settings, f"here:{next(_numbers)}")
        self._shell = shell
        self.calls = ThreadPoolExecutor(200)

    def __enter__(self) -> Self:
        self.driver = LoopDriver(self.settings) if self._shell == "async" else Driver(self.settings)
        for flow, name in self.directory.background():
            self.driver.start(flow, name)
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.close()
        self.calls.shutdown()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return self.driver.run(flow)

    def acquire(self, key: str, within: float = WITHIN) -> tuple[Held, Entry | None]:
        """Acquire a session."""
        return self.run(self.directory.acquire(key, time.monotonic() + within))

    def acquiring(self, key: str, within: float = WITHIN) -> "Future[tuple[Held, Entry | None]]":
        """Begin to acquire a session on another thread."""
        return self.calls.submit(self.acquire, key, within)

    def write(self, held: Held, within: float = WITHIN, **changes: Any) -> None:
        """Write the entry with these changes."""
        self.run(self.directory.write(held, changed(held, **changes), time.monotonic() + within))

    def release(self, held: Held, within: float = WITHIN, **changes: Any) -> None:
        """Release a session."""
        entry = changed(held, released=True, **changes)
        self.run(self.directory.release(held, entry, time.monotonic() + within))

    def confirm(self, within: float = WITHIN) -> bool:
        """Confirm the lease."""
        return self.run(self.directory.confirm(time.monotonic() + within))

    def entry(self, key: str) -> Entry | None:
        """Read an entry."""
        found = self.run(self.directory.entry(key, time.monotonic() + WITHIN))
        return None if found is None else found.entry

    def entries(self) -> list[Stored]:
        """Read all entries."""
        return self.run(self.directory.entries(time.monotonic() + WITHIN))

    def leave(self, within: float = WITHIN) -> None:
        """Leave the directory."""
        self.run(self.directory.leave(time.monotonic() + within))


_numbers = itertools.count(1)


def changed(held: Held, **changes: Any) -> Entry:
    """Return the next revision of a session's entry."""
    return msgspec.structs.replace(held.entry, revision=held.entry.revision + 1, **changes)
