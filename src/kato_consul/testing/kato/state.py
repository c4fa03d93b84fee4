"""What the parts of one worker share."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated

from fastapi import Depends, Request

from kato_consul.testing.kato.mind import Mind
from kato_consul.testing.kato.sessions import Sessions
from kato_consul.testing.kato.store import Store
from kato_consul.testing.kato.switches import SwitchFile
from kato_consul.testing.kato.vices import SeenStore

VERSION = "3.10.1"  # of the real one whose answers these are


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker is set up. `work` are the seconds between reading a session and writing it
    back; `limit_concurrency` and `workers` are only reported here, uvicorn and `serve` obey them.
    """

    store: Path
    name: str = "kato"
    switches: Path | None = None
    work: float = 0.001
    workers: int = 1
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
class State:
    """One worker."""

    options: Options
    switches: SwitchFile
    store: SeenStore
    sessions: Sessions
    mind: Mind
    load: Load = field(default_factory=Load)
    started: float = field(default_factory=time.time)

    @classmethod
    def opened(cls, options: Options) -> "State":
        """Open the store. Call it in the process that will use it."""
        switches = SwitchFile(options.switches)
        store = SeenStore(Store(options.store), switches)
        return cls(options, switches, store, Sessions(store), Mind(store, options.name))

    @property
    def uptime(self) -> float:
        """Seconds since the worker started."""
        return time.time() - self.started


async def state_of(request: Request) -> State:  # async: FastAPI sends others to a thread
    """Return the worker that a request is in."""
    state: State = request.app.state.kato
    return state


Worker = Annotated[State, Depends(state_of)]
