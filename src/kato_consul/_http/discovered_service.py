"""Discovered service: requests of a plain httpx client to any HTTP service in Consul.

The client sends requests to ``http://<service>/…``. Idempotent methods (RFC 9110, 9.2.2) are
retried after any failure; others only if the request was certainly not sent.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from kato_consul._balancing.pool import pool_for
from kato_consul._discovery.discovery_service import DiscoveryService
from kato_consul._flow import Outcome, Reply, Send
from kato_consul._http.httpx_adapter import SendTrace, to_failure
from kato_consul._requests.classify import ANY_RESPONSE, LIMIT_BODY
from kato_consul._requests.failover import Failover
from kato_consul._requests.request import Request
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import DiscoveryError, KatoConsulError, RequestNotSent
from kato_consul.settings import Settings

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""The idempotent methods of RFC 9110."""


@dataclass
class DiscoveredService:
    """One service: the discovery of its instances, and failover between them."""

    discovery: DiscoveryService
    failover: Failover

    @classmethod
    def create(cls, name: str, settings: Settings) -> "DiscoveredService":
        """Return the service with this name, and otherwise the client's settings."""
        discovery = DiscoveryService(replace(settings, service=name))
        failover = Failover(discovery.store, pool_for(settings), clock, uniform)
        return cls(discovery, failover)


@dataclass
class Exchange:
    """One request of an httpx client, and its attempts on one or more instances.

    ``reports_first_byte``: True if the inner transport certainly traces the first byte of each
    request.
    Any other transport is trusted only if it traces at least one event. If it traces none, a
    failed request may have been sent: some transports report a connection that was closed after
    the request as a failure to connect.
    """

    request: httpx.Request
    settings: Settings
    reports_first_byte: bool
    response: httpx.Response | None = None
    error: Exception | None = None
    trace: SendTrace = field(default_factory=SendTrace)

    def to_request(self) -> Request:
        """Return the request for `Failover`."""
        target = self.request.url.raw_path.decode("ascii")
        return Request(
            what=f"{self.request.method} {self.request.url.host}{self.request.url.path}",
            method=self.request.method,
            target=target,
            repeatable=self.request.method in REPEATABLE,
            timeout=self.settings.attempt_timeout,
            answer_policy=ANY_RESPONSE,
        )

    def deadline(self) -> float:
        """Return the deadline of a call that starts now: the last attempt starts before it."""
        return clock() + self.settings.deadline

    def to_httpx_request(self, step: Send, trace: Any) -> httpx.Request:
        """Return the request for one instance.

        Its Host header, and the name that the certificate must have, are the service's.
        """
        self.trace = SendTrace()
        url = self.request.url
        instance_url = httpx.URL(step.origin)
        extensions = {**self.request.extensions, "trace": trace}
        if url.scheme == "https":
            extensions.setdefault("sni_hostname", url.host)
        timeout = dict(extensions.get("timeout") or {})
        connect = timeout.get("connect")
        if connect is None or connect > self.settings.connect_timeout:
            timeout["connect"] = self.settings.connect_timeout
        extensions["timeout"] = timeout
        return httpx.Request(
            self.request.method,
            url.copy_with(host=instance_url.host, port=instance_url.port),
            headers=self.request.headers,
            stream=self.request.stream,
            extensions=extensions,
        )

    def record_failure(self, error: Exception) -> Outcome:
        """Record an exception of the transport and return it as a failure."""
        self.error = error
        traced = self.reports_first_byte or self.trace.any_event
        return to_failure(error, sent=self.trace.bytes_sent or not traced)

    def record_response(self, response: httpx.Response) -> Outcome:
        """Record a response, whose body is not read yet, and return it as an outcome."""
        self.response = response
        response.request = self.request
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, b"")

    def final_response(self, error: KatoConsulError) -> httpx.Response:
        """Return the last response, if no instance served the request.

        Raises:
            httpx.TransportError: no instance responded.
        """
        if self.response is not None:
            return self.response
        if self.error is not None and not isinstance(error, RequestNotSent | DiscoveryError):
            raise self.error from error
        raise httpx.ConnectError(str(error), request=self.request) from error


def may_be_concurrency_limit(response: httpx.Response) -> bool:
    """Return whether the body must be read to detect a concurrency limit of the server."""
    return response.status_code == 503 and response.headers.get("content-length") == str(
        len(LIMIT_BODY)
    )
