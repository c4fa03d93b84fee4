"""httpx adapter: steps as httpx requests, and httpx's exceptions as failures, for both shells.

Whether a byte of the request was sent decides if it may be sent again. httpcore's ``trace``
extension reports it: ``send_request_headers.started`` occurs just before the first byte is handed
to the kernel, and never before the connection is established. Before this event nothing was sent;
after it, a part may have been sent, even if the write failed.
"""

import ssl
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpcore  # noqa: F401  # httpx imports it with its first transport: see `_libraries`
import httpx

from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul._http.endpoint import Endpoint, require_one_request
from kato_consul.settings import Settings

T = TypeVar("T")

SEND_ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError)
"""What a transport raises for a request that fails; the last three also for a bad name or port."""

FIRST_BYTE_EVENT = "send_request_headers.started"

MAX_CONNECTIONS = 1_000
"""Open connections of one transport. In effect this is no limit: KATO's server has its own (100 per
worker) and returns 503 beyond it, which a queue in the client would hide."""


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The context of plain HTTP, which never uses it. Without one httpx creates a context for each
transport, on the thread that sends: the first context of a process initializes OpenSSL, and a child
that is forked meanwhile hangs at its own."""
NO_TLS.check_hostname = False
NO_TLS.verify_mode = ssl.CERT_NONE


@dataclass(slots=True)
class OriginPool(Generic[T]):
    """The transport of one origin, and the requests that use it.

    A retired transport is closed after the last of these requests.
    """

    transport: T
    endpoint: Endpoint
    users: set[object] = field(default_factory=set)
    retired: bool = False


def endpoint_options(endpoint: Endpoint, keepalive: float) -> dict[str, Any]:
    """Return the keyword arguments of httpx's sync and async transport for an endpoint.

    Each origin has its own transport, and so its own connection pool. There are no proxies, cookies
    or redirects: requests go to the instance's own address.
    """
    options = transport_options(keepalive, endpoint.tls)
    if endpoint.path:
        options["uds"] = endpoint.path
    return options


def transport_options(keepalive: float, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Return the keyword arguments for an instance: no proxies.

    ``keepalive``: seconds that a connection may be idle.
    """
    return {
        "limits": httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=keepalive,
        ),
        "trust_env": False,
        "verify": tls if tls is not None else NO_TLS,
    }


def to_httpx_request(step: Send, to: Endpoint, settings: Settings, trace: Any) -> httpx.Request:
    """Return a step as an httpx request. ``trace`` is called with its trace events.

    Raises:
        ValueError: it would not be exactly one request.
    """
    require_one_request(step)
    base = "http://consul" if to.path else step.origin
    timeout = {
        "connect": min(settings.connect_timeout, step.timeout),
        "read": step.timeout,
        "write": step.timeout,
        "pool": step.timeout,
    }
    extensions: dict[str, Any] = {"timeout": timeout, "trace": trace}
    if to.server_name not in (None, to.address):
        extensions["sni_hostname"] = to.server_name  # also verified
    headers = dict(step.headers) if to.headers is None else {**to.headers.all(), **step.headers}
    return httpx.Request(
        step.method,
        base + step.target,
        headers=headers,
        content=step.body or None,
        extensions=extensions,
    )


def to_outcome(response: httpx.Response, body: bytes) -> Outcome:
    """Return an httpx response and its body as an outcome."""
    if response.status_code < 200:  # 101: no upgrade was requested
        error = httpx.RemoteProtocolError("it switches to another protocol")
        return Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def too_long(body: int) -> Failure:
    """Return the failure of a response whose body has over `MAX_BODY` bytes, and no end."""
    error = httpx.RemoteProtocolError(f"its body is too long: {body} bytes, and no end")
    return Failure(Cause.PROTOCOL, bytes_sent=True, detail=str(error), error=error)


def to_failure(error: Exception, *, sent: bool) -> Failure:
    """Return an exception of httpx as a failure. ``sent``: whether a byte may have been sent."""
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
    """The trace of one request.

    ``bytes_sent``: a byte may have been sent; ``any_event``: there was at least one event.
    """

    bytes_sent: bool = False
    any_event: bool = False

    def record(self, event: str) -> None:
        """Record a trace event, such as ``http11.send_request_headers.started``."""
        self.any_event = True
        if event.endswith(FIRST_BYTE_EVENT):
            self.bytes_sent = True
