"""Registration in Consul: how callers and gateways find the proxies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kato_consul import Discovery, Settings
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server.registering import registration
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.cli.running import fresh_name, healths, ids
from tests.proxy.server.serving import serving
from tests.testing.waiting import eventually

FILE = Path("file")


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.mark.parametrize("workers", [1, 2])
def test_registered_while_it_serves(agent: ConsulAgent, workers: int) -> None:
    """Once for all workers; passing while /ready is a 200."""
    name = fresh_name()
    given: dict[str, Any] = {"settings": {"consul_addr": agent.http_addr}, "workers": workers}
    with serving(register=name, **given) as server:
        assert eventually(lambda: healths(agent, name) == {f"{name}-{server.port}": "passing"})
        settings = Settings(trust_env=False, consul_addr=agent.http_addr, service=name)
        with Discovery(settings) as discovery:
            (found,) = discovery.snapshot().instances
        assert (found.address, found.port) == ("127.0.0.1", server.port)
        server.process.terminate()
        assert eventually(lambda: ids(agent, name) == set())
        assert server.get("/ready").status == 503  # it accepts still, for gateways to notice
        assert server.ended() == "cut 0\n"


def test_restart(agent: ConsulAgent) -> None:
    """The registration stays while the next proxy has the same address."""
    name = fresh_name()
    given: dict[str, Any] = {"settings": {"consul_addr": agent.http_addr}, "register": name}
    with serving(**given) as first:
        assert eventually(lambda: "passing" in healths(agent, name).values())
        with serving(port=first.port, replace=True, **given):
            first.ended()
            assert ids(agent, name) == {f"{name}-{first.port}"}
        assert ids(agent, name) == set()


def test_two_with_one_agent(agent: ConsulAgent) -> None:
    """Each has a registration of its own, also with the same port, as in containers."""
    name = fresh_name()
    port = free_ports(1)[0]
    given: dict[str, Any] = {
        "settings": {"consul_addr": agent.http_addr},
        "register": name,
        "port": port,
        "insecure": True,
    }
    both = {f"{name}-{host}-{port}": "passing" for host in ("127.0.0.2", "127.0.0.3")}
    with (
        serving(listen=f"127.0.0.2:{port}", **given),
        serving(listen=f"127.0.0.3:{port}", **given) as second,
    ):
        assert eventually(lambda: healths(agent, name) == both)
        second.end()
        assert ids(agent, name) == {f"{name}-127.0.0.2-{port}"}


def test_consul_is_away() -> None:
    """The proxy serves, and ends, without Consul."""
    with serving(register="kato-proxy", settings={"consul_addr": "127.0.0.1:9"}) as server:
        assert server.get("/echo").status == 200
        assert server.end() == "cut 0\n"


@pytest.mark.parametrize(
    ("given", "address", "check"),
    [
        ({"listen": "127.0.0.1:80"}, "127.0.0.1", "http://127.0.0.1:80/ready"),
        ({"listen": "[::1]:80"}, "::1", "http://[::1]:80/ready"),
        ({"listen": "0.0.0.0:80", "insecure": True}, "", "http://127.0.0.1:80/ready"),
        ({"listen": "[::]:80", "insecure": True}, "", "http://[::1]:80/ready"),
        ({"listen": "kato.local:80", "insecure": True}, "kato.local", "http://kato.local:80/ready"),
        ({"listen": "127.0.0.1:80", "prefix": "/a"}, "127.0.0.1", "http://127.0.0.1:80/a/ready"),
        (
            {"listen": "127.0.0.1:80", "tls_cert": FILE, "tls_key": FILE},
            "127.0.0.1",
            "https://127.0.0.1:80/ready",
        ),
    ],
)
def test_check(given: dict[str, Any], address: str, check: str) -> None:
    """The agent requests /ready, on its own machine; callers use the node's address if the proxy
    listens on all."""
    options = ServerOptions(**given)
    one = registration(options, "kato-proxy")
    assert (one.address, one.port, one.path) == (address, 80, options.prefix)
    assert one.scheme == ("https" if options.tls_cert else "")
    assert one.check is not None
    assert one.check.http == check
    assert one.check.tls_skip_verify == (options.tls_cert is not None)


@pytest.mark.parametrize(
    ("listen", "its_id"),
    [
        ("127.0.0.1:80", "kato-proxy-80"),
        ("0.0.0.0:80", "kato-proxy-80"),
        ("localhost:80", "kato-proxy-80"),
        ("10.1.2.3:80", "kato-proxy-10.1.2.3-80"),
        ("[fd00::7]:80", "kato-proxy-fd00..7-80"),
        ("kato.local:80", "kato-proxy-kato.local-80"),
    ],
)
def test_id(listen: str, its_id: str) -> None:
    """Proxies in several containers have one agent, and the same port: their ids differ."""
    options = ServerOptions(listen=listen, insecure=True)
    assert registration(options, "kato-proxy").id == its_id


def test_check_with_client_certificates() -> None:
    """The agent has none, so it only connects."""
    options = ServerOptions(tls_cert=FILE, tls_key=FILE, client_ca=FILE)
    check = registration(options, "kato-proxy").check
    assert check is not None
    assert (check.http, check.tcp) == (None, "127.0.0.1:8000")
