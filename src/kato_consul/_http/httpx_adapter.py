"""What both engines under httpx know of it: how to connect, and what its exceptions prove.

The one fact that decides about sending again is whether a byte of the request left. httpcore's
``trace`` extension tells: ``send_request_headers.started`` comes just before the first byte is
handed to the kernel, and never before the connection stands. Until then nothing can have left;
after it, nobody can say (a write that failed may have failed half-way).
"""

import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from kato_consul._flow import Cause, Failure, Reply, Send
from kato_consul._http.endpoint import check
from kato_consul.settings import Settings

FIRST_BYTE = "send_request_headers.started"

POOL = 1_000
"""Connections a transport may have open: no limit of ours, since KATO's server has its own (100 a
worker) and answers 503 beyond it; a queue in front of it would only hide that."""


def connection_options(
    origin: str, settings: Settings, tls: ssl.SSLContext | None
) -> dict[str, Any]:
    """Keyword arguments for ``httpx.HTTPTransport`` and ``httpx.AsyncHTTPTransport``.

    One transport, and so one pool, for each origin. No proxies, cookies or redirects: an instance
    is called by its own address.
    """
    options = instance_options(settings.keepalive, tls)
    if origin.startswith("unix://"):
        options["uds"] = origin.removeprefix("unix://")
    return options


def instance_options(keepalive: float, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """The same for an instance of whatever service: no proxy stands before it."""
    return {
        "limits": httpx.Limits(
            max_connections=POOL, max_keepalive_connections=POOL, keepalive_expiry=keepalive
        ),
        "trust_env": False,
        # Plain http never uses the context, but httpx would load the CA bundle for it (20 ms).
        "verify": tls if tls is not None else False,
    }


def http_request(step: Send, settings: Settings, trace: Any) -> httpx.Request:
    """The step as httpx has it. ``trace`` is told what happens on the wire.

    Raises:
        ValueError: it would not be one request.
    """
    check(step)
    base = "http://consul" if step.origin.startswith("unix://") else step.origin
    timeout = {
        "connect": min(settings.connect_timeout, step.timeout),
        "read": step.timeout,
        "write": step.timeout,
        "pool": step.timeout,
    }
    extensions: dict[str, Any] = {"timeout": timeout, "trace": trace}
    if settings.consul_tls_server_name and step.origin in settings.consul_origins:
        extensions["sni_hostname"] = settings.consul_tls_server_name  # checked, too
    return httpx.Request(
        step.method,
        base + step.target,
        headers=dict(step.headers),
        content=step.body or None,
        extensions=extensions,
    )


def reply(response: httpx.Response, body: bytes) -> Reply:
    """A whole answer."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def failure(error: Exception, *, sent: bool) -> Failure:
    """What an exception of the engine means; `sent`: whether a byte may have left."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        cause = Cause.TIMEOUT if sent else Cause.CONNECT
    elif not sent:
        cause = Cause.CONNECT
    elif isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        cause = Cause.PROTOCOL
    else:
        cause = Cause.CUT
    return Failure(cause, sent, str(error) or type(error).__name__, error)


@dataclass(slots=True)
class SendTrace:
    """What was seen of one request on the wire; ``told``: that anything was."""

    sent: bool = False
    told: bool = False

    def seen(self, event: str) -> None:
        """Take note of a trace event, such as ``http11.send_request_headers.started``."""
        self.told = True
        if event.endswith(FIRST_BYTE):
            self.sent = True
