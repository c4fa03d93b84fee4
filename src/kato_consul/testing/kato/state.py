"""State of one worker, shared by its routes and its middleware."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from kato_consul.testing.kato.events import EventStream
from kato_consul.testing.kato.faulty_store import FaultyStore
from kato_consul.testing.kato.processor import Processor
from kato_consul.testing.kato.session_store import SessionStore
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import SwitchFile

VERSION = "3.10.1"  # of the real KATO whose responses these are
CACHED_FOR = 5.0  # seconds, as the real KATO's METRICS_CACHE_TTL and SESSION_COUNT_CACHE_TTL


@dataclass(frozen=True, slots=True)
class Options:
    """Configuration of a worker.

    `work` is the number of seconds between reading a session and writing it back.
    `limit_concurrency` is only reported; uvicorn enforces it.
    """

    store: Path
    name: str = "kato"
    switches: Path | None = None
    work: float = 0.001
    limit_concurrency: int = 100


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One request that a worker has answered; ``ended`` in seconds since the epoch."""

    method: str
    path: str
    ended: float
    seconds: float


@dataclass(slots=True)
class Load:
    """Requests of one worker: in flight, their peak, in total, and the last that it answered."""

    now: int = 0
    peak: int = 0
    total: int = 0
    seconds: float = 0.0
    last: deque[ServedRequest] = field(default_factory=lambda: deque(maxlen=1_000))

    def __enter__(self) -> None:
        self.now += 1
        self.peak = max(self.peak, self.now)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.now -= 1

    def record(self, method: str, path: str, seconds: float) -> None:
        """Count a request that was answered, as the real KATO does: once it has ended."""
        self.total += 1
        self.seconds += seconds
        self.last.append(ServedRequest(method, path, time.time(), seconds))


@dataclass(slots=True)
class ResponseCache:
    """Responses that a worker repeats for `CACHED_FOR` seconds."""

    _bodies: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)

    async def get(
        self, path: str, compute: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return the cached response body of this path, or that of `compute` if it has expired."""
        expires, body = self._bodies.get(path, (0.0, {}))
        if time.monotonic() >= expires:
            body = await compute()
            self._bodies[path] = time.monotonic() + CACHED_FOR, body
        return body


@dataclass(slots=True)
class State:
    """The state of one worker.

    `work` waits for the processing time of a writing call plus the switch `slow`.
    """

    options: Options
    switches: SwitchFile
    store: FaultyStore
    sessions: SessionStore
    processor: Processor
    work: Callable[[], Awaitable[None]]
    load: Load = field(default_factory=Load)
    events: EventStream = field(default_factory=EventStream)
    response_cache: ResponseCache = field(default_factory=ResponseCache)
    started: float = field(default_factory=time.time)

    @classmethod
    def create(cls, options: Options) -> "State":
        """Open the store and return the state. Call it in the process that uses the store."""
        switches = SwitchFile(options.switches)
        store = FaultyStore(Store(options.store), switches)

        async def work() -> None:
            await asyncio.sleep(options.work + switches.now().slow)

        processor = Processor(store, options.name, work)
        return cls(options, switches, store, SessionStore(store), processor, work)

    @property
    def uptime(self) -> float:
        """Seconds since the worker started."""
        return time.time() - self.started


async def state_of(connection: HTTPConnection) -> State:  # async: FastAPI sends others to a thread
    """Return the state of the worker that handles a request or a WebSocket."""
    state: State = connection.app.state.kato
    return state


Worker = Annotated[State, Depends(state_of)]
