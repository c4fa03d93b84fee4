"""What the parts of one worker share."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from fastapi import Depends, Request

from kato_consul.testing.kato.faulty_store import FaultyStore
from kato_consul.testing.kato.processor import Processor
from kato_consul.testing.kato.sessions import Sessions
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import SwitchFile

VERSION = "3.10.1"  # of the real one whose answers these are
REPEATED_FOR = 5.0  # seconds, of the real one's METRICS_CACHE_TTL and SESSION_COUNT_CACHE_TTL


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker is set up. `work` are the seconds between reading a session and writing it
    back; `limit_concurrency` is only reported here, uvicorn obeys it.
    """

    store: Path
    name: str = "kato"
    switches: Path | None = None
    work: float = 0.001
    limit_concurrency: int = 100


@dataclass(slots=True)
class Load:
    """The requests of one worker: in work now, at most, ever, and the seconds they took."""

    now: int = 0
    peak: int = 0
    total: int = 0
    seconds: float = 0.0

    def __enter__(self) -> None:
        self.total += 1
        self.now += 1
        self.peak = max(self.peak, self.now)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.now -= 1

    def took(self, seconds: float) -> None:
        """Count the duration of a request that was answered."""
        self.seconds += seconds


@dataclass(slots=True)
class Repeated:
    """Answers that a worker gives again for a while instead of looking anew."""

    _answers: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)

    async def get(self, name: str, look: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Return the last answer of this name; what `look` sees when it is `REPEATED_FOR` old."""
        until, answer = self._answers.get(name, (0.0, {}))
        if time.monotonic() >= until:
            answer = await look()
            self._answers[name] = time.monotonic() + REPEATED_FOR, answer
        return answer


@dataclass(slots=True)
class State:
    """One worker."""

    options: Options
    switches: SwitchFile
    store: FaultyStore
    sessions: Sessions
    processor: Processor
    load: Load = field(default_factory=Load)
    repeated: Repeated = field(default_factory=Repeated)
    started: float = field(default_factory=time.time)

    @classmethod
    def opened(cls, options: Options) -> "State":
        """Open the store. Call it in the process that will use it."""
        switches = SwitchFile(options.switches)
        store = FaultyStore(Store(options.store), switches)
        return cls(options, switches, store, Sessions(store), Processor(store, options.name))

    @property
    def uptime(self) -> float:
        """Seconds since the worker started."""
        return time.time() - self.started


async def state_of(request: Request) -> State:  # async: FastAPI sends others to a thread
    """Return the worker that a request is in."""
    state: State = request.app.state.kato
    return state


Worker = Annotated[State, Depends(state_of)]
