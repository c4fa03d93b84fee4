"""Metrics of the server, for Prometheus: requests, their times, connections, rejections.

The labels have few values: routes are templates, and neither sessions nor callers are named. With
several workers each writes its numbers into files, and the page is their sum
(https://prometheus.github.io/client_python/multiprocess/).
"""

from enum import StrEnum
from time import perf_counter
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kato_consul.proxy.http import ROUTE

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: an instance on the same machine answers in 2 ms, and a call may take 30 s."""

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Others are counted as "other": a caller can make up any."""


class Rejection(StrEnum):
    """Why the server itself refused a request or a connection."""

    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too_large"
    RATE = "rate"
    CONNECTIONS = "connections"
    SLOW = "slow"
    MALFORMED = "malformed"
    PREFIX = "prefix"
    HANDSHAKE = "handshake"


class Gauge(Protocol):
    """A number that goes up and down."""

    def inc(self) -> None:
        """Add 1."""

    def dec(self) -> None:
        """Subtract 1."""


class Meter(Protocol):
    """What the server counts."""

    connections: Gauge

    def rejected(self, reason: Rejection) -> None:
        """Count a refusal."""


class _Nothing:
    def inc(self) -> None:
        pass

    def dec(self) -> None:
        pass


class NoMeter:
    """Counts nothing."""

    connections: Gauge = _Nothing()

    def rejected(self, reason: Rejection) -> None:
        """Count nothing."""


class PrometheusMeter:
    """Counts for Prometheus, in this process.

    prometheus_client decides when it is imported whether its numbers are this process' own, or
    are written to the folder in ``PROMETHEUS_MULTIPROC_DIR``.
    """

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram
        from prometheus_client import Gauge as PrometheusGauge

        labels = ("route", "method", "status")
        self._requests = Counter("kato_proxy_requests", "Requests that were answered.", labels)
        self._seconds = Histogram(
            "kato_proxy_request_duration_seconds",
            "From a request's headers to the end of its response.",
            ("route", "method"),
            buckets=BUCKETS,
        )
        self.in_flight = PrometheusGauge(
            "kato_proxy_requests_in_flight", "Requests in hand.", multiprocess_mode="livesum"
        )
        self.connections: Gauge = PrometheusGauge(
            "kato_proxy_connections", "Open connections.", multiprocess_mode="livesum"
        )
        rejections = Counter(
            "kato_proxy_rejected", "Requests and connections that were refused.", ("reason",)
        )
        self._rejected = {reason: rejections.labels(reason.value) for reason in Rejection}
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def rejected(self, reason: Rejection) -> None:
        """Count a refusal."""
        self._rejected[reason].inc()

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response."""
        key = route, method, status
        series = self._series.get(key)
        if series is None:
            counter = self._requests.labels(route, method, str(status))
            series = self._series[key] = counter, self._seconds.labels(route, method)
        series[0].inc()
        series[1].observe(seconds)


class Measured:
    """An ASGI middleware that counts and times requests. WebSockets are not counted."""

    def __init__(self, app: ASGIApp, meter: PrometheusMeter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0  # without a response, the connection was cut

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = perf_counter()
        self._meter.in_flight.inc()
        try:
            await self._app(scope, receive, watched)
        except Exception:
            status = status or 500  # which uvicorn answers
            raise
        finally:
            self._meter.in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = scope.get(ROUTE, "other")
            self._meter.answered(route, method, status, perf_counter() - begun)
