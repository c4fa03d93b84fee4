"""Engine: sends HTTP requests for threads."""

from typing import Protocol

from kato_consul._flow import Outcome, Send
from kato_consul._http.endpoint import Endpoints
from kato_consul.settings import Settings


class Engine(Protocol):
    """Sends each request once, with a connection pool for each origin. Threads may share it."""

    def send(self, step: Send) -> Outcome:
        """Carry out one step. If interrupted, close the connection."""

    def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""

    def interrupt(self) -> None:
        """Stop permanently: requests in flight fail as cut, and new ones are not sent."""

    def close(self) -> None:
        """Close every idle connection."""

    def reset_after_fork(self) -> None:
        """In a forked child, drop the parent's connections without sending anything on them."""


def engine_for(settings: Settings, endpoints: Endpoints) -> Engine:
    """Return the engine that the settings name, and import no other."""
    if settings.engine == "httpx":
        from kato_consul._sync.engines.httpx_engine import HttpxEngine

        return HttpxEngine(settings, endpoints)
    from kato_consul._sync.engines.httptools_engine import HttptoolsEngine

    return HttptoolsEngine(settings, endpoints)
