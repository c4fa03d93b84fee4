"""TLS: certificates made by Consul's own command, checked both ways."""

import asyncio
import subprocess
from collections.abc import Iterator
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
from tests.cli.running import Instance, fresh_name, kato_consul

WITHIN = 3.0
"""Seconds for the first answer: enough on a busy machine, and waited for where none can come."""


class Sealed:
    """An agent that wants a certificate of whoever speaks TLS to it, and the files for that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        for words in ("ca create", "cert create -server -dc dc1", "cert create -client -dc dc1"):
            self._tls(folder, words)
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
        """What reaches it, as Consul's own tools want it; None leaves a variable out."""
        good: dict[str, str | None] = {
            "CONSUL_HTTP_ADDR": f"https://127.0.0.1:{self.port}",
            "CONSUL_CACERT": str(self.folder / "consul-agent-ca.pem"),
            "CONSUL_CLIENT_CERT": str(self.folder / "dc1-client-consul-0.pem"),
            "CONSUL_CLIENT_KEY": str(self.folder / "dc1-client-consul-0-key.pem"),
        }
        return {name: value for name, value in (good | changed).items() if value is not None}

    @staticmethod
    def _tls(folder: Path, words: str) -> None:
        argv = [str(find_consul()), "tls", *words.split()]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    """One for all."""
    made = Sealed(tmp_path_factory.mktemp("tls"))
    with made.agent:
        yield made


def test_both_ways(sealed: Sealed, instance: Instance) -> None:
    """With the CA and a certificate of our own, commands and the library work over TLS."""
    service = fresh_name()
    env = sealed.environment()
    done = kato_consul("register", *instance.flags(service), env=env)
    assert done.returncode == 0, done.stderr
    with Discovery(Settings.from_env(env, service=service)) as discovery:
        assert [one.id for one in discovery.snapshot().usable] == [f"{service}-1"]
    assert kato_consul("deregister", f"{service}-1", env=env).returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine(sealed: Sealed, engine: str) -> None:
    """Each engine, for threads and on asyncio, does so; and checks the name."""

    def settings(**given: str) -> Settings:
        env = sealed.environment()
        return Settings.from_env(env, service="consul", engine=engine, deadline=5.0, **given)

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
def test_another_agent_of_the_list(sealed: Sealed, ca: str) -> None:
    """The second agent of a list is checked as the first one is, sync and async."""
    env = sealed.environment(
        CONSUL_HTTP_ADDR=f"127.0.0.1:{free_ports(1)[0]},https://127.0.0.1:{sealed.port}",
        CONSUL_CACERT=str(sealed.folder / ca),
    )
    settings = Settings.from_env(env, service="consul")

    async def ask() -> int:
        async with AsyncDiscovery(settings) as discovery:
            return len((await discovery.snapshot(WITHIN)).instances)

    def ask_sync() -> int:
        with Discovery(settings) as discovery:
            return len(discovery.snapshot(WITHIN).instances)

    for asking in (ask_sync, lambda: asyncio.run(ask())):
        if ca.startswith("other"):
            with pytest.raises(ConsulUnreachable):
                asking()
        else:
            assert asking() == 1


def test_staying(sealed: Sealed, instance: Instance) -> None:
    """So does what stays."""
    check = CheckDefinition(interval="200ms")
    definition = ServiceDefinition(
        name=fresh_name(), port=instance.port, address="127.0.0.1", check=check
    )
    with Registrar([definition], Settings.from_env(sealed.environment()), wait=20):
        pass


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"CONSUL_CACERT": None}, 3, "certificate verify failed"),
        ({"CONSUL_CACERT": "other/consul-agent-ca.pem"}, 3, "certificate verify failed"),
        ({"CONSUL_CACERT": "nowhere.pem"}, 2, "the TLS files for Consul cannot be used"),
        ({"CONSUL_CLIENT_CERT": None, "CONSUL_CLIENT_KEY": None}, 3, "bad certificate"),
        ({"CONSUL_TLS_SERVER_NAME": "server.elsewhere.consul"}, 3, "Hostname mismatch"),
        ({"CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}, 5, "knows no service"),
        ({"CONSUL_CACERT": None, "CONSUL_HTTP_SSL_VERIFY": "false"}, 5, "knows no service"),
    ],
)
def test_what_does_not_fit(
    sealed: Sealed, changed: dict[str, str | None], code: int, said: str
) -> None:
    """Each thing that does not fit is said in words; what fits by other means works."""
    places = {
        name: str(sealed.folder / value) if value and value.endswith(".pem") else value
        for name, value in changed.items()
    }
    done = kato_consul("instances", "--service", "nobody", env=sealed.environment(**places))
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_unix_socket(tmp_path: Path, instance: Instance) -> None:
    """An agent on a unix socket is reached as one on a port is."""
    path = tmp_path / "consul.sock"
    service = fresh_name()
    with ConsulAgent(config={"addresses": {"http": f"unix://{path} 127.0.0.1"}}):
        env = {"CONSUL_HTTP_ADDR": f"unix://{path}"}
        done = kato_consul("register", *instance.flags(service), env=env)
        assert done.returncode == 0, done.stderr
        with Discovery(Settings.from_env(env, service=service)) as discovery:
            assert [one.id for one in discovery.snapshot().usable] == [f"{service}-1"]
