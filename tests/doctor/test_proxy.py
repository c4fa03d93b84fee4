"""What doctor says of the package's own proxy: real ones, in front of real instances."""

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from kato_consul import Discovery, Settings, diagnose
from kato_consul._doctor.findings import Finding, Severity
from kato_consul.testing import Fleet
from kato_consul.testing.gateways import NginxServer
from kato_consul.testing.ports import HOST, free_ports
from tests.cli.running import line_with, started
from tests.doctor.behind_gateways import write_configuration
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances."""
    with Fleet(2, registered=True) as fleet:
        yield fleet


@contextlib.contextmanager
def proxy(fleet: Fleet, *options: str | Path) -> Iterator[int]:
    """Run a proxy in front of the fleet; the value is its port."""
    (port,) = free_ports(1)
    listen = ("--listen", f"{HOST}:{port}", "--consul", fleet.agent.http_addr, "--drain", "0")
    with started("proxy", *listen, *options) as process:
        line_with(process, "serving")
        yield port


def findings(settings: Settings) -> dict[str, Finding]:
    """Return doctor's findings by their names."""
    return {one.name: one for one in diagnose(settings).findings}


def through(port: int, api_key: str | None = None) -> Settings:
    """Return the settings of a caller of one address."""
    url = f"http://{HOST}:{port}"
    return Settings(trust_env=False, kato_urls=(url,), keepalive=0.1, kato_api_key=api_key)


def test_address_of_a_proxy(fleet: Fleet) -> None:
    """A note says that it is one. Its two instances are neither workers nor a lack of failover."""
    with proxy(fleet) as port:
        found = findings(through(port))
    assert found.keys() == {"instance.proxy", "pool.single", "consul.none"}
    assert all(one.severity is Severity.NOTE for one in found.values())
    assert "is a 'kato-consul proxy'" in found["instance.proxy"].what


def test_registered_proxy(fleet: Fleet) -> None:
    """As a service of its own, in Consul."""
    settings = Settings(
        trust_env=False, consul_addr=fleet.agent.http_addr, service="kato-proxy", keepalive=0.1
    )
    with proxy(fleet, "--register", "kato-proxy"), Discovery(settings) as discovery:
        assert eventually(
            lambda: any(one.usable for one in discovery.registered_snapshot(10).instances)
        )
        found = findings(settings)
    assert found.keys() == {"instance.proxy", "pool.single"}
    assert "a proxy, is the only usable address" in found["pool.single"].what


def test_proxy_that_wants_a_key(fleet: Fleet, tmp_path: Path) -> None:
    """Without a key, the advice is to set one. Its Redis is not blamed."""
    keys = tmp_path / "keys"
    keys.write_text(f"doctor {sha256(b'the-key').hexdigest()}\n")
    with proxy(fleet, "--api-keys", keys) as port:
        without, accepted = findings(through(port)), findings(through(port, "the-key"))
    refused = without["instance.refused"]
    assert without.keys() == {"instance.refused", "pool.single", "consul.none"}
    assert refused.severity is Severity.ERROR
    assert "set KATO_API_KEY (or KATO_API_KEY_FILE)" in refused.todo
    assert "Redis" not in refused.what + refused.todo
    assert accepted.keys() == {"instance.proxy", "pool.single", "consul.none"}


def test_gateway_in_front_of_a_proxy(fleet: Fleet, tmp_path: Path) -> None:
    """It has a ``Server`` header of its own: another header shows the proxy behind it."""
    (port,) = free_ports(1)
    with proxy(fleet) as behind:
        config = write_configuration("nginx", tmp_path, port, {"proxy-1": behind})
        with NginxServer(config, port):
            found = findings(through(port))
    assert found.keys() == {"instance.proxy", "instance.gateway", "pool.single", "consul.none"}


def test_proxy_without_instances(fleet: Fleet) -> None:
    """A call on a session fails; what to look at is the proxy, and what is behind it."""
    with proxy(fleet, "--service", "none-such") as port:
        found = findings(through(port))
    assert "instance.proxy" in found
    assert found["instance.store"].severity is Severity.ERROR
    assert "/ready and the proxy's log" in found["instance.store"].todo
