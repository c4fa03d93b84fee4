"""Engine: sends HTTP requests on asyncio."""

from typing import Protocol

from kato_consul._flow import Outcome, Send
from kato_consul._http.endpoint import Endpoints
from kato_consul.settings import Settings


class AsyncEngine(Protocol):
    """Sends each request once, with a connection pool for each origin."""

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. If cancelled, close the connection."""

    async def close_origin(self, origin: str) -> None:
        """Close the idle connections to ``origin`` now, and those in use after their responses."""

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""


def engine_for(settings: Settings, endpoints: Endpoints) -> AsyncEngine:
    """Return the engine that the settings name, and import no other."""
    if settings.engine == "httpx":
        from kato_consul._async.engines.httpx_engine import HttpxEngine

        return HttpxEngine(settings, endpoints)
    from kato_consul._async.engines.httptools_engine import HttptoolsEngine

    return HttptoolsEngine(settings, endpoints)
