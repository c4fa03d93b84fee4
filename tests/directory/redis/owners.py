"""Owners in tests: a directory in Redis with a driver of either shell, used by blocking calls."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from kato_consul._async.driver import AsyncDriver
from kato_consul._directory.directory import Held, Stored
from kato_consul._directory.entry import Entry
from kato_consul._directory.redis_directory import RedisDirectory
from kato_consul._flow import Flow
from kato_consul._secret import Secret
from kato_consul._sync.driver import Driver
from kato_consul.settings import Settings
from kato_consul.testing.redis import RedisServer

T = TypeVar("T")

SHELLS = ("sync", "async")


def mark_settled(server: RedisServer, service: str) -> None:
    """Let the service's directory be one that was used for a long time on this server."""
    run_id = server.command("INFO", "server")["run_id"]
    server.command("HSET", f"kato-consul:{{{service}}}:server", "run", run_id, "since", 0)


class Owner:
    """One client of a directory. ``start`` makes a call in the background."""

    def __init__(self, url: str, service: str, shell: str = "sync", label: str = "host:1") -> None:
        self.directory = RedisDirectory(Secret(url), service, label)
        self._threads = ThreadPoolExecutor(max_workers=128)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.driver: Any
        if shell == "sync":
            self.driver = Driver(Settings(service=service))
            for flow, name in self.directory.background():
                self.driver.start(flow, name)
        else:
            self._loop = loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=loop.run_forever, daemon=True)
            self._thread.start()
            self.driver = self._on_loop(self._begin(service))

    async def _begin(self, service: str) -> AsyncDriver:
        driver = AsyncDriver(Settings(service=service))
        for flow, name in self.directory.background():
            driver.start(flow, name)
        return driver

    def _on_loop(self, work: Any) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        result: T = (
            self.driver.run(flow) if self._loop is None else self._on_loop(self.driver.run(flow))
        )
        return result

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Make a call on another thread."""
        return self._threads.submit(call)

    def acquire(self, key: str, within: float = 60.0) -> tuple[Held, Entry | None]:
        """Acquire a session."""
        return self.run(self.directory.acquire(key, time.monotonic() + within))

    def write(self, held: Held, within: float = 60.0, **changes: Any) -> None:
        """Write the entry with changes, as its next revision."""
        self.run(self.directory.write(held, changed(held, changes), time.monotonic() + within))

    def release(self, held: Held, within: float = 60.0, **changes: Any) -> None:
        """Release the session with changes of its entry."""
        changes = {"released": True, **changes}
        self.run(self.directory.release(held, changed(held, changes), time.monotonic() + within))

    def disown(self, key: str, within: float = 60.0) -> None:
        """Give up a session that it may have."""
        self.run(self.directory.disown(key, time.monotonic() + within))

    def confirm(self, within: float = 60.0) -> bool:
        """Confirm the lease."""
        return self.run(self.directory.confirm(time.monotonic() + within))

    def entry(self, key: str, within: float = 60.0) -> Entry | None:
        """Read an entry."""
        found = self.run(self.directory.entry(key, time.monotonic() + within))
        return None if found is None else found.entry

    def entries(self, within: float = 60.0) -> list[Stored]:
        """Read all entries."""
        return self.run(self.directory.entries(time.monotonic() + within))

    def leave(self, within: float = 60.0) -> None:
        """End the lease."""
        self.run(self.directory.leave(time.monotonic() + within))

    def close(self) -> None:
        """Close the driver, without ending the lease."""
        if self._loop is None:
            self.driver.close()
        elif not self._loop.is_closed():
            self._on_loop(self.driver.aclose())
            for _ in range(3):  # of a handshake that was cut, more than the driver knows of
                self._on_loop(asyncio.sleep(0))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._threads.shutdown()


def changed(held: Held, changes: dict[str, Any]) -> Entry:
    """Return the next revision of an entry."""
    return msgspec.structs.replace(held.entry, revision=held.entry.revision + 1, **changes)
