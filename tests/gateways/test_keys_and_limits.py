"""``--api-keys`` and ``--rate-limit``, with gateways that have them."""

from hashlib import sha256
from pathlib import Path

import httpx

from kato_consul.testing import ConsulAgent
from tests.gateways.recorder import Recorder
from tests.gateways.site import gateway_site
from tests.testing.waiting import eventually


def test_callers_of_nginx_are_limited(
    agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
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


def test_callers_of_haproxy_need_a_key_and_are_limited_by_it(
    agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
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
