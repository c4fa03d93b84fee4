"""What carries a request over the wire for threads."""

import ssl
from typing import Protocol

from kato_consul._flow import Outcome, Send
from kato_consul.settings import Settings


class Engine(Protocol):
    """Sends requests, each once, over connections it keeps: one pool for each origin.

    Threads share it.
    """

    def send(self, step: Send) -> Outcome:
        """Carry out one step. Interrupted, it drops the connection."""

    def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""

    def interrupt(self) -> None:
        """End for good: requests in flight fail as cut, and new ones are not sent."""

    def close(self) -> None:
        """Close every connection that is kept."""

    def reset_after_fork(self) -> None:
        """In a forked child: let go of the parent's connections without a word to the server."""


def engine_for(settings: Settings, tls: ssl.SSLContext | None) -> Engine:
    """The engine that the settings name; ``tls`` is for Consul. Only that one is imported."""
    if settings.engine == "httpx":
        from kato_consul._sync.engine_httpx import HttpxEngine

        return HttpxEngine(settings, tls)
    from kato_consul._sync.engine_httptools import HttptoolsEngine

    return HttptoolsEngine(settings, tls)
