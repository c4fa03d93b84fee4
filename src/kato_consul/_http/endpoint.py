"""Endpoints: the address, TLS and headers of an origin, for all engines.

An engine carries out one `Send`: it sends the request once, never retries, and returns the outcome.
Whether a byte was sent decides if the request may be sent again. An engine determines this from the
point in its code that was reached, never from the name of an error.
"""

import ssl
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from kato_consul._addresses import DEFAULT_PORTS, is_path_prefix
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._http.kato_headers import KatoHeaders, kato_headers
from kato_consul._http.tls import (
    CLIENT_CERT,
    TlsContexts,
    describe_kato_tls_error,
    find_tls_error,
    refused_handshake,
)
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


@dataclass(slots=True)
class Endpoint:
    """The address and TLS of an origin, and what each request to it has in addition.

    ``host`` is the Host header; ``path`` is that of a unix socket, or "". ``tls`` is None for plain
    HTTP; ``server_name`` is the name that the certificate must have. ``prefix`` is put before each
    target. ``headers`` are those of KATO; None if there are none. ``is_kato`` is False for Consul.
    ``answered``: there was a response over TLS.
    """

    address: str
    port: int
    host: str
    path: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    prefix: str = ""
    headers: KatoHeaders | None = None
    is_kato: bool = False
    answered: bool = False

    def checked(self, outcome: Outcome) -> Outcome:
        """Return an outcome of this endpoint as it may be shown: an error page without the secrets
        that were sent, and a TLS error with what to do about it."""
        if isinstance(outcome, Failure):
            return outcome if self.tls is None else self._with_tls_reason(outcome)
        if self.tls is not None:
            self.answered = True
        if outcome.status >= 300 and self.headers is not None:
            return self.headers.hidden_in(outcome)
        return outcome

    def _with_tls_reason(self, failure: Failure) -> Failure:
        if find_tls_error(failure.error) is None:
            if failure.cause is not Cause.CUT or self.answered or not self.is_kato:
                return failure
            # asyncio's servers, such as uvicorn, close the connection without an alert.
            detail = f"{failure.detail}; if it requires a client certificate, {CLIENT_CERT}"
            return replace(failure, detail=detail)
        hint = describe_kato_tls_error(failure.error) if self.is_kato else ""
        detail = f"{failure.detail}: {hint}" if hint else failure.detail
        if not failure.bytes_sent or refused_handshake(failure.error):
            return Failure(Cause.TLS, bytes_sent=False, detail=detail, error=failure.error)
        return replace(failure, detail=detail)


class Endpoints:
    """The endpoints of one client: the TLS and the headers that its settings have for an origin.

    Raises:
        ConfigurationError: a certificate file, or the file of the API key, cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consul_origins = settings.consul_origins
        self.tls = TlsContexts(settings)
        self.kato_headers = kato_headers(settings)

    def of(self, origin: str) -> Endpoint:
        """Return the endpoint of an origin, which may be an address that Consul accepted.

        Raises:
            ValueError: it is not an origin.
        """
        if origin.startswith("unix://"):
            return Endpoint("", 0, "consul", origin.removeprefix("unix://"))
        parts = urlsplit(origin)
        address, default = parts.hostname, DEFAULT_PORTS.get(parts.scheme)
        if not address or default is None or parts.port == 0 or not is_path_prefix(parts.path):
            raise ValueError(f"{origin!a} is not http://host:port")
        address.encode("ascii")
        port = parts.port or default
        host = parts.netloc.removesuffix(f":{default}")
        uses_tls = parts.scheme == "https"
        if origin in self._consul_origins:
            if not uses_tls:
                return Endpoint(address, port, host)
            server_name = self._settings.consul_tls_server_name or address
            return Endpoint(address, port, host, "", self.tls.consul, server_name)
        return Endpoint(
            address,
            port,
            host,
            tls=self.tls.kato if uses_tls else None,
            server_name=(self._settings.kato_tls_server_name or address) if uses_tls else None,
            prefix=parts.path,
            headers=self.kato_headers,
            is_kato=True,
        )


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
