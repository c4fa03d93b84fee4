"""Clients in tests of shared sessions: KATO clients of either shell, used by blocking calls."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Self

from kato_consul import AsyncKatoClient, KatoClient, Settings

Shell = Literal["sync", "async"]

SHELLS: tuple[Shell, ...] = ("sync", "async")

WITHIN = 60.0
"""Seconds that a call may take in a test, unless the test is about its deadline."""


class Client:
    """One client object, as a context manager. ``kato`` is the client itself."""

    def __init__(self, settings: Settings, shell: Shell = "sync") -> None:
        self.settings = settings
        self.shell = shell
        self._threads = ThreadPoolExecutor(32)
        self._closed = False
        self.kato: Any
        if shell == "sync":
            self.kato = KatoClient(settings)
            return
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.kato = self._wait_for(self._create())

    async def _create(self) -> AsyncKatoClient:
        return AsyncKatoClient(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def wanted(self) -> frozenset[str]:
        """The sessions that this client owns and others wait for."""
        wanted: frozenset[str] = self.kato._shared._owned.directory.wanted.current
        return wanted

    def session(self, key: str, **options: Any) -> "Session":
        """Return the session of a key."""
        return Session(self, self.kato.session(key, **options))

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call, and wait for its result."""
        if self.shell == "sync":
            return method(*args, **kwargs)
        return self._wait_for(method(*args, **kwargs))

    def start(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
        """Begin a call on another thread."""
        return self._threads.submit(self.call, method, *args, **kwargs)

    def close(self) -> None:
        """Close the client, and end what the test has started of it."""
        if self._closed:
            return
        self._closed = True
        if self.shell == "sync":
            self.kato.close()
        else:
            self._wait_for(self.kato.aclose())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()
        self._threads.shutdown()

    def _wait_for(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


class Session:
    """A session of a client, whose calls block. ``real`` is the client's own object."""

    def __init__(self, client: Client, real: Any) -> None:
        self.client = client
        self.real = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self.client.call(found, *args, **kwargs)

    def start(self, method: str, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Begin a call on another thread."""
        return self.client.start(getattr(self.real, method), *args, **kwargs)

    def symbols(self) -> list[str]:
        """Return the symbols of the memory, of events with one symbol each."""
        return [symbol for (symbol,) in self.stm()]
