"""nginx with the package's template: a real one, in front of instances in a real Consul."""

from pathlib import Path

import httpx

from kato_consul.testing import ConsulAgent
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
from tests.gateways.recorder import Recorder
from tests.gateways.site import gateway_site

__all__ = ["agent", "recorders", "site"]


class TestRequests(RequestsOfGateway):
    """What becomes of a request."""

    KIND = "nginx"


class TestPaths(PathsOfGateway):
    """The paths before KATO's own."""

    KIND = "nginx"


class TestTemplates(TemplatesOfGateway):
    """A template of one's own, and why the built-in one says what it says."""

    KIND = "nginx"
    SAFE = "proxy_next_upstream error timeout;"
    UNSAFE = "proxy_next_upstream error timeout non_idempotent;"


class TestHttps(HttpsOfGateway):
    """Instances that are registered with ``scheme=https``."""

    KIND = "nginx"


class TestLoad(LoadOnGateway):
    """What changes cost."""

    KIND = "nginx"


class TestLimits:
    """``--rate-limit``."""

    def test_callers_are_limited(
        self, agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
    ) -> None:
        """Beyond the limit they get a 429 in JSON, with the time after which to come again."""
        options = ("--rate-limit", "2")
        with gateway_site("nginx", agent, "recorded", tmp_path, *options) as site:
            assert site.call("GET", "/health")[0] == 200
            url = f"{site.server.url}/health"
            refused = next(
                response
                for _ in range(10_000)
                if (response := httpx.get(url, trust_env=False)).status_code != 200
            )
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json() == {"detail": "too many requests"}
