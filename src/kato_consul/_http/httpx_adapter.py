"""httpx adapter: steps as httpx requests, and what httpx's exceptions prove, for both shells.

Whether a byte of the request left decides if it may be sent again. httpcore's ``trace`` extension
reports it: ``send_request_headers.started`` comes just before the first byte is handed to the
kernel, and never before the connection is established. Before this event nothing can have left;
after it, something may have (a write that failed may have failed half-way).
"""

import ssl
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from kato_consul._flow import Cause, Failure, Reply, Send
from kato_consul._http.endpoint import require_one_request
from kato_consul.settings import Settings

T = TypeVar("T")

FIRST_BYTE_EVENT = "send_request_headers.started"

MAX_CONNECTIONS = 1_000
"""Open connections of one transport. In effect no limit: KATO's server has its own (100 a worker)
and answers 503 beyond it, which a queue in front of it would hide."""


@dataclass(slots=True)
class OriginPool(Generic[T]):
    """The transport of one origin, and the number of requests that use it. A transport that is
    retired is closed after the last of them."""

    transport: T
    users: int = 0
    retired: bool = False


def origin_options(
    origin: str, settings: Settings, consul_tls: ssl.SSLContext | None
) -> dict[str, Any]:
    """Keyword arguments of ``httpx.HTTPTransport`` and ``httpx.AsyncHTTPTransport`` for an origin.

    Each origin has its own transport, and so its own connection pool. There are no proxies, cookies
    or redirects: an instance is called by its own address. ``consul_tls`` is used for Consul only.
    """
    tls = consul_tls if origin in settings.consul_origins else None
    options = transport_options(settings.keepalive, tls)
    if origin.startswith("unix://"):
        options["uds"] = origin.removeprefix("unix://")
    return options


def transport_options(keepalive: float, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """The same for any instance, without a proxy. ``keepalive``: idle seconds of a connection."""
    return {
        "limits": httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=keepalive,
        ),
        "trust_env": False,
        # Plain http never uses the context, but httpx would load the CA bundle for it (20 ms).
        "verify": tls if tls is not None else False,
    }


def to_httpx_request(step: Send, settings: Settings, trace: Any) -> httpx.Request:
    """Return a step as an httpx request. ``trace`` receives the events of its connection.

    Raises:
        ValueError: it would not be exactly one request.
    """
    require_one_request(step)
    base = "http://consul" if step.origin.startswith("unix://") else step.origin
    timeout = {
        "connect": min(settings.connect_timeout, step.timeout),
        "read": step.timeout,
        "write": step.timeout,
        "pool": step.timeout,
    }
    extensions: dict[str, Any] = {"timeout": timeout, "trace": trace}
    if settings.consul_tls_server_name and step.origin in settings.consul_origins:
        extensions["sni_hostname"] = settings.consul_tls_server_name  # also verified
    return httpx.Request(
        step.method,
        base + step.target,
        headers=dict(step.headers),
        content=step.body or None,
        extensions=extensions,
    )


def to_reply(response: httpx.Response, body: bytes) -> Reply:
    """Return a response whose body was read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def to_failure(error: Exception, *, sent: bool) -> Failure:
    """Return what an exception of httpx proves. ``sent``: whether a byte may have left."""
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
    """The trace of one request. ``bytes_sent``: a byte may have left; ``any_event``: the transport
    reported at least one event."""

    bytes_sent: bool = False
    any_event: bool = False

    def record(self, event: str) -> None:
        """Record a trace event, such as ``http11.send_request_headers.started``."""
        self.any_event = True
        if event.endswith(FIRST_BYTE_EVENT):
            self.bytes_sent = True
