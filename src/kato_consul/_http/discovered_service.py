"""Discovered service: requests of a plain httpx client to any HTTP service in Consul.

The client sends requests to ``http://<service>/…``. Idempotent methods (RFC 9110, 9.2.2) are
retried after any failure; others only if the request was certainly not sent.

An instance whose metadata has ``scheme=https`` is reached over https, although the URL has http;
never the other way round. Its ``path`` is put before that of the URL. What the settings have for
KATO (scheme, path, TLS, API key, headers) is for the service that they name, and no other.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

import httpx

from kato_consul._balancing.pool import pool_for
from kato_consul._consul.call import call_consul
from kato_consul._discovery.discovery_service import DiscoveryService
from kato_consul._flow import Cause, Failure, Flow, Reply, Send
from kato_consul._http.httpx_adapter import SendTrace, to_failure
from kato_consul._http.kato_headers import KatoHeaders
from kato_consul._http.tls import answered_without_tls
from kato_consul._requests.classify import ANY_RESPONSE, REFUSED
from kato_consul._requests.failover import Failover
from kato_consul._requests.request import Request
from kato_consul._runtime_defaults import clock, uniform
from kato_consul._tracing import TRACE_HEADER
from kato_consul.errors import (
    ClientClosed,
    ConfigurationError,
    ConsulError,
    KatoConsulError,
    NoInstances,
    NoResponse,
    OutcomeUnknown,
    excerpt,
)
from kato_consul.settings import Settings

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""The idempotent methods of RFC 9110."""


MAY_BE_REPEATED = REFUSED | {502, 503, 504}
"""The statuses after which `ANY_RESPONSE` may attempt again."""

READ_AT_ONCE = 65_536
"""Bytes of the longest body of such a response that is read before the next attempt."""


FOR_KATO = "kato_consul.for_kato"
"""The extension of a request for the service that the settings name."""


NAMES_WITHIN = 0.5
"""Seconds that a call which fails for want of instances waits for the names of all services."""


@dataclass
class DiscoveredService:
    """One service: the discovery of its instances, and failover between them."""

    discovery: DiscoveryService
    failover: Failover

    @classmethod
    def create(cls, name: str, settings: Settings) -> "DiscoveredService":
        """Return the service with this name, and otherwise the client's settings."""
        if not _is_kato(name, settings):  # what is set for KATO is not for another service
            settings = replace(
                settings, service=name, kato_urls=(), kato_scheme="http", kato_path=""
            )
        discovery = DiscoveryService(settings)
        failover = Failover(
            discovery.store,
            pool_for(settings),
            clock,
            uniform,
            wait_for_instances=settings.wait_for_instances,
        )
        return cls(discovery, failover)

    def with_known_names(self, error: NoInstances) -> Flow[NoInstances]:
        """Flow: return the error. If Consul has no service of this name, it has the names that
        Consul has."""
        if not self.discovery.store.lists_none:
            return error
        names = self.discovery.agents.current.service_names().with_timeout(NAMES_WITHIN)
        try:
            known = yield from call_consul(names)
        except ConsulError:
            return error
        if error.service.lower() not in map(str.lower, known):
            listed = excerpt(", ".join(known)) or "none that the token may read"
            text = "The host of a URL is the name of a service, and Consul has none of this name"
            error.args = (f"{error}. {text}. Its services: {listed}",)
        return error


@dataclass
class Exchange:
    """One request of an httpx client, and its attempts on one or more instances.

    ``kato_headers`` are added if it is for the service that the settings name.
    ``reports_first_byte``: True if the inner transport certainly traces the first byte of each
    request.
    Any other transport is trusted only if it traces at least one event. If it traces none, a
    failed request may have been sent: some transports report a connection that was closed after
    the request as a failure to connect.
    """

    request: httpx.Request
    settings: Settings
    reports_first_byte: bool
    kato_headers: KatoHeaders | None
    response: httpx.Response | None = None
    error: httpx.TransportError | None = None
    trace: SendTrace = field(default_factory=SendTrace)

    def __post_init__(self) -> None:
        timeouts = self.request.extensions.get("timeout") or {}
        self._connect, self._read, self._write, self._wait = (
            timeouts.get(name) for name in ("connect", "read", "write", "pool")
        )
        attempt = _total(self._connect, self._read, self._write)
        self._attempt = min(attempt, self.settings.deadline)
        limit = _total(attempt, self._wait)
        self.deadline = clock() + min(limit, self.settings.deadline)

    @property
    def is_kato(self) -> bool:
        """True if the request is for the service that the settings name."""
        return _is_kato(self.request.url.host, self.settings)

    @property
    def service(self) -> str:
        """The name of the service that the request is for.

        Raises:
            ConfigurationError: the URL has an IP address in its place.
        """
        host = self.request.url.host
        with contextlib.suppress(ValueError):
            ip_address(host)
            raise ConfigurationError(
                f"the host of the URL must be the name of a service in Consul, and {host} is an "
                f"address. For addresses use a client without this transport"
            )
        return host

    def to_request(self) -> Request:
        """Return the request for `Failover`."""
        target = self.request.url.raw_path.decode("ascii")
        return Request(
            what=f"{self.request.method} {self.request.url.host}{self.request.url.path}",
            method=self.request.method,
            target=target,
            repeatable=self.request.method in REPEATABLE,
            timeout=self._attempt,
            answer_policy=ANY_RESPONSE,
            wait=self._wait,
        )

    def to_httpx_request(
        self, step: Send, trace: Any, limited: Callable[[float, float], float]
    ) -> httpx.Request:
        """Return the request for one instance.

        Its Host header, and the name that the certificate must have, are the service's if the URL
        has https, and the instance's own if only its metadata has it.
        ``limited`` returns a timeout for each operation that also limits all of them together.
        """
        self.trace = SendTrace()
        url = self.request.url
        upgraded = url.scheme == "http" and step.origin.startswith("https://")
        origin = step.origin
        if url.scheme == "https":
            origin = f"https://{origin.partition('://')[2]}"
        base = httpx.URL(origin)
        headers = self.request.headers.copy()
        extensions = {**self.request.extensions, "trace": trace, FOR_KATO: self.is_kato}
        if url.scheme == "https":
            extensions.setdefault("sni_hostname", url.host)
        elif upgraded and headers["host"] == url.netloc.decode("ascii"):
            headers["host"] = base.netloc.decode("ascii")
        if self.is_kato and self.settings.kato_tls_server_name:
            extensions["sni_hostname"] = self.settings.kato_tls_server_name
        for name, value in self._added_headers(step).items():
            headers.setdefault(name, value)
        seconds = step.timeout
        extensions["timeout"] = {
            "connect": min(_seconds(self._connect), self.settings.connect_timeout, seconds),
            "read": limited(min(_seconds(self._read), seconds), seconds),
            "write": limited(min(_seconds(self._write), seconds), seconds),
            "pool": min(_seconds(self._wait), seconds),
        }
        return httpx.Request(
            self.request.method,
            base.copy_with(raw_path=base.raw_path.rstrip(b"/") + url.raw_path),
            headers=headers,
            stream=self.request.stream,
            extensions=extensions,
        )

    def _added_headers(self, step: Send) -> dict[str, str]:
        """Return the headers that the request gets if the caller has not given them."""
        trace_id = {name: step.headers[name] for name in (TRACE_HEADER,) if name in step.headers}
        if self.is_kato and self.kato_headers is not None:
            return {**trace_id, **self.kato_headers.all()}
        return trace_id

    def record_failure(self, error: Exception) -> Failure:
        """Record an exception of the transport and return it as a failure."""
        traced = self.reports_first_byte or self.trace.any_event
        sent = self.trace.bytes_sent or not traced
        # As in `Failover`: an attempt that the deadline cut short does not show why.
        if sent or self.error is None or clock() < self.deadline:
            self.error = _as_transport_error(error, self.request, sent=sent)
        if not sent and answered_without_tls(error):
            return Failure(
                Cause.NOT_TLS, bytes_sent=False, detail=self._how_without_tls(), error=error
            )
        return to_failure(error, sent=sent)

    def keeps_response(self, failure: Failure) -> bool:
        """Return whether the response of an earlier attempt is still the last one after a failure.

        So it is if the deadline cut the attempt short, and the attempt had no effect."""
        without_effect = not failure.bytes_sent or self.request.method in REPEATABLE
        return without_effect and clock() >= self.deadline

    def _how_without_tls(self) -> str:
        if self.request.url.scheme == "https":
            return f"it speaks http: use http://{self.request.url.host}"
        return "it speaks http: its scheme must not be https, in its metadata or the settings"

    def record_response(self, response: httpx.Response) -> Reply:
        """Record a response, whose body is not read yet, and return it as an outcome."""
        self.response = response
        response.request = self.request
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, b"")

    def limit_body_only_by_request(self, attempt: httpx.Request) -> None:
        """Let the rest of the response take as long as the caller's own timeouts allow."""
        attempt.extensions["timeout"]["read"] = self._read

    def final_response(self, error: KatoConsulError) -> httpx.Response:
        """Return the last response, if no instance served the request.

        Raises:
            httpx.TransportError: no instance responded.
        """
        if self.response is not None:
            return self.response
        if isinstance(error, ClientClosed) and error.sent:
            raise httpx.ReadError(str(error), request=self.request) from error
        if isinstance(error, OutcomeUnknown | NoResponse) and self.error is not None:
            raise self.error from error
        is_timeout = isinstance(self.error, httpx.TimeoutException)
        kind = httpx.ConnectTimeout if is_timeout else httpx.ConnectError
        raise kind(str(error), request=self.request) from error


def _is_kato(name: str, settings: Settings) -> bool:
    """Return whether a service is the one that the settings name. httpx changes the host of a URL
    to lower case, and Consul finds services in any case."""
    return name.lower() == settings.service.lower()


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


def _total(*timeouts: float | None) -> float:
    return sum(map(_seconds, timeouts))


def _as_transport_error(
    error: Exception, request: httpx.Request, *, sent: bool
) -> httpx.TransportError:
    """Return what httpx would raise."""
    if isinstance(error, httpx.TransportError):
        return error
    kind: type[httpx.TransportError] = httpx.ReadError if sent else httpx.ConnectError
    if isinstance(error, TimeoutError):
        kind = httpx.ReadTimeout if sent else httpx.ConnectTimeout
    converted = kind(str(error) or "no complete response in time", request=request)
    converted.__cause__ = error
    return converted


def may_be_repeated(response: httpx.Response) -> bool:
    """Return whether another attempt may follow this response. Its body, if small, is read at once:
    it shows a concurrency limit of the server, frees the connection for the next attempt, and
    keeps the response for the caller in case that the deadline cuts that attempt short."""
    length = response.headers.get("content-length", "")
    small = length.isdecimal() and int(length) <= READ_AT_ONCE
    return small and response.status_code in MAY_BE_REPEATED
