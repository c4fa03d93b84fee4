"""What carries a request over the wire on asyncio."""

import ssl
from typing import Protocol

from kato_consul._flow import Outcome, Send
from kato_consul.settings import Settings


class AsyncEngine(Protocol):
    """Sends requests, each once, over connections it keeps: one pool for each origin."""

    async def send(self, step: Send) -> Outcome:
        """Carry out one step. Cancelled, it drops the connection."""

    async def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""

    async def close(self) -> None:
        """Close every connection; requests in flight fail as cut."""


def engine_for(settings: Settings, tls: ssl.SSLContext | None) -> AsyncEngine:
    """The engine that the settings name; ``tls`` is for Consul. Only that one is imported."""
    if settings.engine == "httpx":
        from kato_consul._async.engine_httpx import HttpxEngine

        return HttpxEngine(settings, tls)
    from kato_consul._async.engine_httptools import HttptoolsEngine

    return HttptoolsEngine(settings, tls)
