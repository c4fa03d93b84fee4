"""HAProxy with the package's template: a real one, in front of instances in a real Consul."""

from hashlib import sha256
from pathlib import Path

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
from tests.testing.waiting import eventually

__all__ = ["agent", "recorders", "site"]


class TestRequests(RequestsOfGateway):
    """What becomes of a request."""

    KIND = "haproxy"


class TestPaths(PathsOfGateway):
    """The paths before KATO's own."""

    KIND = "haproxy"


class TestTemplates(TemplatesOfGateway):
    """A template of one's own, and why the built-in one says what it says."""

    KIND = "haproxy"
    SAFE = "retry-on conn-failure"
    # It repeats only requests that it has as a whole.
    UNSAFE = "retry-on all-retryable-errors\n    option http-buffer-request"


class TestHttps(HttpsOfGateway):
    """Instances that are registered with ``scheme=https``."""

    KIND = "haproxy"


class TestLoad(LoadOnGateway):
    """What changes cost."""

    KIND = "haproxy"


class TestKeys:
    """``--api-keys`` and ``--rate-limit``."""

    def test_callers_need_a_key_and_are_limited_by_it(
        self, agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
    ) -> None:
        """Either header has it. HAProxy has only its hash; KATO gets what the caller sent."""
        keys = tmp_path / "keys"
        digests = [sha256(key.encode()).hexdigest() for key in ("the-key", "other-key")]
        keys.write_text("".join(f"name {digest}\n" for digest in digests))
        options = ("--api-keys", keys, "--rate-limit", "3")
        with gateway_site("haproxy", agent, "recorded", tmp_path, *options) as site:
            for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": f"Bearer {digests[0]}"}):
                status, answer = site.call("GET", "/health", headers=headers)
                assert (status, answer) == (401, {"detail": "an API key is required"})
            for headers in ({"X-API-Key": "the-key"}, {"Authorization": "bearer the-key"}):
                assert site.call("GET", "/health", headers=headers)[0] == 200
            assert "the-key" not in site.server.config.read_text()
            key = {"X-API-Key": "the-key"}
            assert eventually(lambda: site.call("GET", "/health", headers=key)[0] == 429)
            assert site.call("GET", "/health", headers={"X-API-Key": "other-key"})[0] == 200
