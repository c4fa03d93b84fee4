"""Endpoints: the address and TLS of an origin, for all engines.

An engine carries out one `Send`: it sends the request once, never retries, and returns the outcome.
Whether a byte was sent decides if the request may be sent again. An engine determines this from the
point in its code that was reached, never from the name of an error.
"""

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from kato_consul._flow import Send
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

STATUSES_THAT_CLOSE = frozenset({500, 502, 503, 504})
"""After these statuses the server may close the connection without announcing it: uvicorn does so
2 ms after the 500 of an unhandled exception. The client closes it first, so that no later request
is sent on it."""


MAX_HEAD = 65_536
"""Bytes of a response's head, with interim responses before it, that are received before it must be
complete. Servers' own limits for requests are 8 to 64 KiB; h11's, in the httpx engine, is 100."""

MAX_BODY = 256 * 1_048_576
"""Bytes of a response's body. KATO's largest lists all symbols of a node: about 100 bytes for each,
so this is over two million. Without a limit, a response that does not end fills the memory."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address and TLS of an origin.

    ``host`` is the Host header; ``path`` is that of a unix socket, or "". ``tls`` is None for plain
    HTTP; ``server_name`` is the name that the certificate must have.
    """

    address: str
    port: int
    host: str
    path: str
    tls: ssl.SSLContext | None
    server_name: str | None


def check_origin(origin: str) -> None:
    """Check the address of an origin, which may be one that Consul accepted.

    Raises:
        ValueError: it has no host or no valid port, or its host is no text that is sent.
    """
    if not origin.startswith("unix://"):
        parts = urlsplit(origin)
        if not parts.hostname or parts.port == 0 or parts.path:
            raise ValueError(f"{origin!a} is not http://host:port")
        parts.hostname.encode("ascii")


def endpoint_for(origin: str, settings: Settings, consul_tls: ssl.SSLContext | None) -> Endpoint:
    """Return the endpoint of ``origin``. ``consul_tls`` is used for Consul only.

    Raises:
        ValueError, OSError: it is not an origin, or there are no certificates for TLS.
    """
    if origin.startswith("unix://"):
        return Endpoint("", 0, "consul", origin.removeprefix("unix://"), None, None)
    check_origin(origin)
    parts = urlsplit(origin)
    address = parts.hostname or ""
    if parts.scheme != "https":
        return Endpoint(address, parts.port or 80, parts.netloc, "", None, None)
    context, server_name = consul_tls, settings.consul_tls_server_name
    if origin not in settings.consul_origins or context is None:
        context, server_name = ssl.create_default_context(), None
    return Endpoint(address, parts.port or 443, parts.netloc, "", context, server_name or address)


def require_one_request(step: Send) -> None:
    """Check that a step is exactly one request. Its target may hold an id that KATO chose.

    Raises:
        ValueError: the target holds a space or a line break, or a header a line break.
    """
    target = step.target
    if " " in target or "\n" in target or "\r" in target:
        raise ValueError("a space or a line break in the target")
    for value in step.headers.values():
        if "\n" in value or "\r" in value:
            raise ValueError("a line break in a header")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context for Consul; None if no agent has an https origin.

    Raises:
        ConfigurationError: a certificate file cannot be used.
    """
    if not any(origin.startswith("https://") for origin in settings.consul_origins):
        return None
    try:
        context = ssl.create_default_context(
            cafile=settings.consul_cacert and str(settings.consul_cacert),
            capath=settings.consul_capath and str(settings.consul_capath),
        )
        if settings.consul_client_cert is not None:
            context.load_cert_chain(settings.consul_client_cert, settings.consul_client_key)
    except OSError as error:
        raise ConfigurationError(f"the TLS files for Consul cannot be used: {error}") from error
    if not settings.consul_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
