"""Any HTTP service in Consul, for both shells: what httpx asks, as a call of ours, and back.

A plain httpx client asks ``http://<service>/…``. What may be repeated (RFC 9110, 9.2.2) is, on any
failure; anything else only when it provably did not leave.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from kato_consul._discovery.service import DiscoveryService
from kato_consul._flow import Outcome, Reply, Send
from kato_consul._http.httpx_adapter import SendTrace, failure
from kato_consul._kato.session_factory import pool_for
from kato_consul._requests.classify import LIMIT_BODY
from kato_consul._requests.failover import Failover, Request
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import DiscoveryError, KatoConsulError, RequestNotSent
from kato_consul.settings import Settings

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that are as good twice as once: RFC 9110's idempotent ones."""


@dataclass
class DiscoveredService:
    """One service: where its instances are seen, and the means of a call to it."""

    discovery: DiscoveryService
    failover: Failover

    @classmethod
    def of(cls, name: str, settings: Settings) -> "DiscoveredService":
        """The service of a name, with the client's settings otherwise."""
        finding = DiscoveryService(replace(settings, service=name))
        failover = Failover(finding.store, pool_for(settings), clock, uniform)
        return cls(finding, failover)


@dataclass
class Exchange:
    """One request of httpx's, over as many instances as it takes.

    ``tells``: the transport under it is known to tell of each first byte. One that is not is
    believed only when it does tell; a silent one may have sent whatever fails, since there are
    adapters that call a server's hanging up a failure to connect.
    """

    request: httpx.Request
    settings: Settings
    reports_first_byte: bool
    response: httpx.Response | None = None
    error: Exception | None = None
    wire: SendTrace = field(default_factory=SendTrace)

    def call(self) -> Request:
        """The call that it is."""
        target = self.request.url.raw_path.decode("ascii")
        return Request(
            what=f"{self.request.method} {self.request.url.host}{self.request.url.path}",
            method=self.request.method,
            target=target,
            repeatable=self.request.method in REPEATABLE,
            timeout=self.settings.attempt_timeout,
            plain=True,
        )

    @property
    def deadline(self) -> float:
        """When no further attempt is begun."""
        return clock() + self.settings.deadline

    def attempt(self, step: Send, trace: Any) -> httpx.Request:
        """The request, for one instance. The Host header stays; so does the name that a
        certificate has to bear."""
        self.wire = SendTrace()
        url = self.request.url
        at = httpx.URL(step.origin)
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
            url.copy_with(host=at.host, port=at.port),
            headers=self.request.headers,
            stream=self.request.stream,
            extensions=extensions,
        )

    def failed(self, error: Exception) -> Outcome:
        """What an exception of the transport proves."""
        self.error = error
        told = self.reports_first_byte or self.wire.told
        return failure(error, sent=self.wire.sent or not told)

    def answered(self, response: httpx.Response) -> Outcome:
        """What a response says, before its body is read."""
        self.response = response
        response.request = self.request
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, b"")

    def ended(self, error: KatoConsulError) -> httpx.Response:
        """What httpx is told when no instance served it: the last response, if there was one.

        Raises:
            httpx.TransportError: there was none.
        """
        if self.response is not None:
            return self.response
        if self.error is not None and not isinstance(error, RequestNotSent | DiscoveryError):
            raise self.error from error
        raise httpx.ConnectError(str(error), request=self.request) from error


def may_be_limit(response: httpx.Response) -> bool:
    """Has the body to be read to know whether it is the server's own limit?"""
    return response.status_code == 503 and response.headers.get("content-length") == str(
        len(LIMIT_BODY)
    )
