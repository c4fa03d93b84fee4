"""Envoy with the package's template: a real one, in front of instances in a real Consul."""

from tests.gateways.behaviour import (
    HttpsOfGateway,
    PathsOfGateway,
    RequestsOfGateway,
    TemplatesOfGateway,
    agent,
    recorders,
    site,
)
from tests.gateways.callers import LoadOnGateway

__all__ = ["agent", "recorders", "site"]


class TestRequests(RequestsOfGateway):
    """What becomes of a request."""

    KIND = "envoy"


class TestPaths(PathsOfGateway):
    """The paths before KATO's own."""

    KIND = "envoy"


class TestTemplates(TemplatesOfGateway):
    """A template of one's own, and why the built-in one says what it says."""

    KIND = "envoy"
    SAFE = "retry_on: connect-failure,"
    UNSAFE = "retry_on: 5xx,"


class TestHttps(HttpsOfGateway):
    """Instances that are registered with ``scheme=https``."""

    KIND = "envoy"


class TestLoad(LoadOnGateway):
    """What changes cost."""

    KIND = "envoy"
