"""What every engine knows, sync or async: where an origin is, TLS to Consul, when connections end.

An engine carries out one `Send`: it sends the request once, and says what came. The one fact that
decides about sending again is whether a byte of it left; an engine knows this of its own, from the
line that hands the bytes over, and never from the name of an error. It repeats nothing by itself.
"""

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from kato_consul._flow import Send
from kato_consul.settings import Settings

STATUSES_THAT_CLOSE = frozenset({500, 502, 503, 504})
"""After these the server may close the connection without having said so (uvicorn does, 2 ms after
the 500 of an unhandled exception): it is dropped, or the next request would meet the close."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an origin is. ``host`` is what the Host header says; ``path`` is a unix socket's.

    ``server_name`` is the name in the certificate; ``tls`` is None where there is none.
    """

    address: str
    port: int
    host: str
    path: str
    tls: ssl.SSLContext | None
    server_name: str | None


def endpoint_for(origin: str, settings: Settings, consul_tls: ssl.SSLContext | None) -> Endpoint:
    """Where ``origin`` is, and how to get there. ``consul_tls`` is for Consul's own origin."""
    if origin.startswith("unix://"):
        return Endpoint("", 0, "consul", origin.removeprefix("unix://"), None, None)
    parts = urlsplit(origin)
    address = parts.hostname or ""
    if parts.scheme != "https":
        return Endpoint(address, parts.port or 80, parts.netloc, "", None, None)
    context, name = consul_tls, settings.consul_tls_server_name
    if origin not in settings.consul_origins or context is None:
        context, name = ssl.create_default_context(), None
    return Endpoint(address, parts.port or 443, parts.netloc, "", context, name or address)


def check(step: Send) -> None:
    """Is it one request? (A session's id comes from KATO, and is in the target.)

    Raises:
        ValueError: a blank or a line break where none may be.
    """
    target = step.target
    if " " in target or "\n" in target or "\r" in target:
        raise ValueError("a blank or a line break in the target")
    for value in step.headers.values():
        if "\n" in value or "\r" in value:
            raise ValueError("a line break in a header")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context for Consul; None when no agent is reached by TLS.

    Raises:
        OSError, ssl.SSLError: a certificate file cannot be used.
    """
    if not any(one.startswith("https://") for one in settings.consul_origins):
        return None
    context = ssl.create_default_context(
        cafile=settings.consul_cacert and str(settings.consul_cacert),
        capath=settings.consul_capath and str(settings.consul_capath),
    )
    if settings.consul_client_cert is not None:
        context.load_cert_chain(settings.consul_client_cert, settings.consul_client_key)
    if not settings.consul_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
