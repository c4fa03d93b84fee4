"""TLS with certificates from Consul's own command, verified in both directions."""

import asyncio
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from kato_consul import (
    AsyncDiscovery,
    CheckDefinition,
    ConsulUnreachable,
    Discovery,
    Registrar,
    ServiceDefinition,
    Settings,
    Snapshot,
)
from kato_consul.settings import ENGINES
from kato_consul.testing import ConsulAgent, find_consul
from kato_consul.testing.ports import free_ports
from tests.cli.running import HealthServer, fresh_name, kato_consul
from tests.environment import settings_of

WITHIN = 3.0
"""Seconds for the first response: enough on a busy machine; waited in full if none can come."""


class TlsAgent:
    """An agent that requires client certificates over TLS, and the files for that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        for subcommand in (
            "ca create",
            "cert create -server -dc dc1",
            "cert create -client -dc dc1",
        ):
            self._tls(folder, subcommand)
        (folder / "other").mkdir()
        self._tls(folder / "other", "ca create")
        self.agent = ConsulAgent(
            config={
                "ports": {"https": self.port},
                "ca_file": str(folder / "consul-agent-ca.pem"),
                "cert_file": str(folder / "dc1-server-consul-0.pem"),
                "key_file": str(folder / "dc1-server-consul-0-key.pem"),
                "verify_incoming_https": True,
            }
        )

    def environment(self, **changed: str | None) -> dict[str, str]:
        """Return the variables of Consul's own tools to reach it; None leaves one out."""
        complete: dict[str, str | None] = {
            "CONSUL_HTTP_ADDR": f"https://127.0.0.1:{self.port}",
            "CONSUL_CACERT": str(self.folder / "consul-agent-ca.pem"),
            "CONSUL_CLIENT_CERT": str(self.folder / "dc1-client-consul-0.pem"),
            "CONSUL_CLIENT_KEY": str(self.folder / "dc1-client-consul-0-key.pem"),
        }
        return {name: value for name, value in (complete | changed).items() if value is not None}

    @staticmethod
    def _tls(folder: Path, subcommand: str) -> None:
        argv = [str(find_consul()), "tls", *subcommand.split()]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def tls_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsAgent]:
    """One agent for all tests."""
    running = TlsAgent(tmp_path_factory.mktemp("tls"))
    with running.agent:
        yield running


def test_commands_and_library_work_over_tls(tls_agent: TlsAgent, instance: HealthServer) -> None:
    """With the CA and a client certificate, commands and the library work over TLS."""
    service = fresh_name()
    env = tls_agent.environment()
    done = kato_consul("register", *instance.flags(service), env=env)
    assert done.returncode == 0, done.stderr
    with Discovery(settings_of(env, service=service)) as discovery:
        assert [one.id for one in discovery.snapshot().usable] == [f"{service}-1"]
    assert kato_consul("deregister", f"{service}-1", env=env).returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_verifies_the_name(tls_agent: TlsAgent, engine: str) -> None:
    """Each engine, sync and async, connects over TLS and verifies the server's name."""

    def settings(**given: str) -> Settings:
        env = tls_agent.environment()
        return settings_of(env, service="consul", engine=engine, deadline=WITHIN, **given)

    async def found(given: Settings) -> Snapshot:
        async with AsyncDiscovery(given) as discovery:
            return await discovery.snapshot()

    other = settings(consul_tls_server_name="server.elsewhere.consul")
    with Discovery(settings()) as discovery:
        assert discovery.snapshot().instances
    with Discovery(other) as discovery, pytest.raises(ConsulUnreachable, match="mismatch"):
        discovery.snapshot()
    assert asyncio.run(found(settings())).instances
    with pytest.raises(ConsulUnreachable, match="mismatch"):
        asyncio.run(found(other))


@pytest.mark.parametrize("ca", ["consul-agent-ca.pem", "other/consul-agent-ca.pem"])
def test_the_second_agent_of_a_list_is_verified(tls_agent: TlsAgent, ca: str) -> None:
    """The second agent of a list is verified like the first one, sync and async."""
    env = tls_agent.environment(
        CONSUL_HTTP_ADDR=f"127.0.0.1:{free_ports(1)[0]},https://127.0.0.1:{tls_agent.port}",
        CONSUL_CACERT=str(tls_agent.folder / ca),
    )
    settings = settings_of(env, service="consul")

    async def count() -> int:
        async with AsyncDiscovery(settings) as discovery:
            return len((await discovery.snapshot(WITHIN)).instances)

    def count_sync() -> int:
        with Discovery(settings) as discovery:
            return len(discovery.snapshot(WITHIN).instances)

    for instances in (count_sync, lambda: asyncio.run(count())):
        if ca.startswith("other"):
            with pytest.raises(ConsulUnreachable):
                instances()
        else:
            assert instances() == 1


def test_registrar_works_over_tls(tls_agent: TlsAgent, instance: HealthServer) -> None:
    """A `Registrar` registers over TLS."""
    check = CheckDefinition(interval="200ms")
    definition = ServiceDefinition(
        name=fresh_name(), port=instance.port, address="127.0.0.1", check=check
    )
    with Registrar([definition], settings_of(tls_agent.environment()), wait=20):
        pass


CHANGES: list[tuple[dict[str, str | None], int, str]] = [
    ({"CONSUL_CACERT": None}, 3, "certificate verify failed"),
    ({"CONSUL_CACERT": "other/consul-agent-ca.pem"}, 3, "certificate verify failed"),
    ({"CONSUL_CACERT": "nowhere.pem"}, 2, "the TLS files for Consul cannot be used"),
    ({"CONSUL_CLIENT_CERT": None, "CONSUL_CLIENT_KEY": None}, 3, "bad certificate"),
    ({"CONSUL_TLS_SERVER_NAME": "server.elsewhere.consul"}, 3, "Hostname mismatch"),
    ({"CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}, 5, "has no service"),
    ({"CONSUL_CACERT": None, "CONSUL_HTTP_SSL_VERIFY": "false"}, 5, "has no service"),
]


@pytest.fixture(scope="module")
def runs(tls_agent: TlsAgent) -> list[Future[subprocess.CompletedProcess[str]]]:
    """One run of a command for each change, in parallel: most wait 5 s for Consul."""

    def run(changed: dict[str, str | None]) -> subprocess.CompletedProcess[str]:
        paths = {
            name: str(tls_agent.folder / value) if value and value.endswith(".pem") else value
            for name, value in changed.items()
        }
        env = tls_agent.environment(**paths)
        return kato_consul("instances", "--service", "nobody", env=env)

    with ThreadPoolExecutor(len(CHANGES)) as pool:
        return [pool.submit(run, changed) for changed, _, _ in CHANGES]


@pytest.mark.parametrize(("number", "code", "output"), [(n, *c[1:]) for n, c in enumerate(CHANGES)])
def test_invalid_tls_settings_are_reported(
    runs: list[Future[subprocess.CompletedProcess[str]]], number: int, code: int, output: str
) -> None:
    """Each invalid setting is named in the error; valid alternatives work."""
    done = runs[number].result()
    assert done.returncode == code, done.stderr
    assert output in done.stderr


def test_an_agent_on_a_unix_socket(tmp_path: Path, instance: HealthServer) -> None:
    """An agent on a unix socket works like one on a port."""
    path = tmp_path / "consul.sock"
    service = fresh_name()
    with ConsulAgent(config={"addresses": {"http": f"unix://{path} 127.0.0.1"}}):
        env = {"CONSUL_HTTP_ADDR": f"unix://{path}"}
        done = kato_consul("register", *instance.flags(service), env=env)
        assert done.returncode == 0, done.stderr
        with Discovery(settings_of(env, service=service)) as discovery:
            assert [one.id for one in discovery.snapshot().usable] == [f"{service}-1"]
