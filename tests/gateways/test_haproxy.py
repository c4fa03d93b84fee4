"""HAProxy with the package's template: a real one, in front of instances in a real Consul."""

import os
import subprocess
from hashlib import sha256
from pathlib import Path

from kato_consul.testing import ConsulAgent
from kato_consul.testing.gateways import HaproxyServer
from tests.cli.running import kato_consul
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

HAPROXY = HaproxyServer(Path(os.devnull), 1).binary
ENVIRONMENT = {
    "KATO_URL": "http://127.0.0.1:8000",
    "PATH": f"{HAPROXY.parent}:{os.environ['PATH']}",
}

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


class TestCheck:
    """HAProxy's own check, as the command runs it."""

    def test_a_rejected_file_has_its_reason(self, tmp_path: Path) -> None:
        """With the line, of the file that was named."""
        template, out = tmp_path / "mine.j2", tmp_path / "kato.cfg"
        template.write_text("defaults\n    mode strange\n")
        arguments = ("--template", template, "--once", "--out", out)
        done = kato_consul("gateway", "haproxy", *arguments, env=ENVIRONMENT)
        assert done.returncode == 1
        assert f"{out}:2] : unknown proxy mode 'strange'" in done.stderr
        assert "kato-consul-gateway-" not in done.stderr

    def test_the_built_in_template_has_no_warning(self, tmp_path: Path) -> None:
        """It needs no log address from another file."""
        out = tmp_path / "kato.cfg"
        done = kato_consul("gateway", "haproxy", "--once", "--out", out, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        check = [str(HAPROXY), "-c", "-f", str(out)]
        checked = subprocess.run(check, capture_output=True, text=True, timeout=60, check=True)
        assert "WARNING" not in checked.stderr


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
