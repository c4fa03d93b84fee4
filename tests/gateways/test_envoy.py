"""Envoy with the package's template: a real one, in front of instances in a real Consul."""

from tests.gateways.behaviour import (
    HttpsOfGateway,
    LoadOnGateway,
    PathsOfGateway,
    RequestsOfGateway,
    agent,
    recorders,
    site,
)

__all__ = ["agent", "recorders", "site"]


class TestRequests(RequestsOfGateway):
    """What becomes of a request."""

    KIND = "envoy"


class TestPaths(PathsOfGateway):
    """The paths before KATO's own."""

    KIND = "envoy"


class TestHttps(HttpsOfGateway):
    """Instances that are registered with ``scheme=https``."""

    KIND = "envoy"


class TestLoad(LoadOnGateway):
    """What changes cost."""

    KIND = "envoy"
