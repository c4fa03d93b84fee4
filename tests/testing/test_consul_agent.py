"""A real Consul agent of our own: ready when it says so, separate, and gone afterwards."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kato_consul.testing.consul import agent as consul_agent
from kato_consul.testing.consul.agent import ConsulAgent, ConsulFailed
from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.consul.config import agent_config, consul_version
from kato_consul.testing.ports import free_ports
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """An agent for the tests which leave it as it is."""
    with ConsulAgent() as agent:
        yield agent


def get(agent: ConsulAgent, path: str) -> object:
    """Ask the agent's HTTP interface."""
    return httpx.get(f"{agent.url}{path}", trust_env=False).raise_for_status().json()


def register(agent: ConsulAgent, name: str) -> None:
    """Register a service without checks."""
    answer = httpx.put(
        f"{agent.url}/v1/agent/service/register", json={"Name": name, "Port": 1}, trust_env=False
    )
    answer.raise_for_status()


def test_leader_and_own_node(agent: ConsulAgent) -> None:
    """A started agent has a leader, and its own node is in the catalog."""
    assert get(agent, "/v1/status/leader")
    nodes = get(agent, "/v1/catalog/nodes")
    assert isinstance(nodes, list)
    assert [node["Node"] for node in nodes] == [agent.node]


def test_addresses(agent: ConsulAgent) -> None:
    """The addresses are those where the agent listens, as tools take them."""
    assert agent.url == f"http://{agent.http_addr}"
    configuration = get(agent, "/v1/agent/self")
    assert isinstance(configuration, dict)
    assert configuration["DebugConfig"]["DNSPort"] == agent.dns_port
    assert configuration["DebugConfig"]["HTTPPort"] == int(agent.http_addr.partition(":")[2])


def test_cli(agent: ConsulAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consul's own program talks to this agent, whatever the developer's environment says."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    monkeypatch.setenv("CONSUL_NAMESPACE", "other")
    assert agent.node in agent.cli("members")


def test_failed_cli(agent: ConsulAgent) -> None:
    """A command that fails is an error with the command and what it said."""
    with pytest.raises(ConsulFailed, match=r"`consul kv get none` failed .* No key exists"):
        agent.cli("kv", "get", "none")


def test_registration_right_after_start() -> None:
    """A service registered the moment the agent is ready shows up; a restart forgets it."""
    with ConsulAgent() as agent:
        register(agent, "early")
        assert eventually(lambda: get(agent, "/v1/health/service/early") != [])
        address, pid = agent.http_addr, agent.pid
        agent.restart()
        assert (agent.http_addr, agent.running) == (address, True)
        assert agent.pid != pid
        assert get(agent, "/v1/health/service/early") == []


def test_two_side_by_side(agent: ConsulAgent) -> None:
    """A second agent has ports, a name and a catalog of its own."""
    with ConsulAgent() as other:
        assert {other.http_addr, other.node}.isdisjoint({agent.http_addr, agent.node})
        register(other, "elsewhere")
        assert eventually(lambda: get(other, "/v1/health/service/elsewhere") != [])
        assert get(agent, "/v1/health/service/elsewhere") == []


def test_kill_and_start_again() -> None:
    """A killed agent refuses connections, and comes back under the same address."""
    with ConsulAgent() as agent:
        address = agent.http_addr
        agent.kill()
        assert not agent.running
        with pytest.raises(httpx.ConnectError):
            get(agent, "/v1/status/leader")
        agent.start()
        assert agent.http_addr == address
        assert get(agent, "/v1/status/leader")


def test_freeze_and_thaw() -> None:
    """A frozen agent runs and answers nothing; it answers again when thawed."""
    with ConsulAgent() as agent:
        agent.freeze()
        assert agent.running
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{agent.url}/v1/status/leader", timeout=0.3, trust_env=False)
        agent.thaw()
        assert get(agent, "/v1/status/leader")
        agent.freeze()  # and a frozen one can be stopped
    assert not agent.running


def test_folder_is_kept_if_given(tmp_path: Path) -> None:
    """The log is in a folder that was given; one of our own is gone after the stop."""
    with ConsulAgent(folder=tmp_path / "given") as given, ConsulAgent() as own:
        assert own._own_folder is not None
        temporary = own._own_folder.path
        assert (temporary / "consul.log").exists()
    given.stop()  # a second time: nothing happens
    assert "agent" in (tmp_path / "given/consul.log").read_text()
    assert not temporary.exists()


def test_config_wins_over_ours() -> None:
    """Settings of the caller reach Consul and win over ours; the others of ours stay."""
    with ConsulAgent(config={"node_meta": {"rack": "7"}, "log_level": "WARN"}) as agent:
        nodes = get(agent, "/v1/catalog/nodes")
        assert isinstance(nodes, list)
        assert [(n["Node"], n["Meta"]["rack"]) for n in nodes] == [(agent.node, "7")]
        assert "[INFO]" not in agent.log_tail()


def test_early_death_gives_the_log(tmp_path: Path) -> None:
    """An agent that refuses its configuration is an error with its own words in it."""
    agent = ConsulAgent(config={"no_such_setting": 1}, folder=tmp_path)
    with pytest.raises(ConsulFailed, match=r"(?s)ended early with exit status 1.*no_such_setting"):
        agent.start()
    assert not agent.running


def test_too_slow(tmp_path: Path) -> None:
    """An agent that is not ready in time is an error, and is not left running."""
    slow = tmp_path / "consul"
    slow.write_text('#!/bin/sh\n[ "$1" = version ] && echo Consul v1.8.7 || exec sleep 60\n')
    slow.chmod(0o755)
    agent = ConsulAgent(binary=slow)
    with pytest.raises(ConsulFailed, match="was not ready in time"):
        agent.start(timeout=0.3)
    assert not agent.running


def test_taken_ports_are_chosen_anew(monkeypatch: pytest.MonkeyPatch, agent: ConsulAgent) -> None:
    """If somebody took a port before Consul did, other ports are tried."""
    taken = int(agent.http_addr.partition(":")[2])
    choices = [[taken, *free_ports(4)], free_ports(5)]
    monkeypatch.setattr(consul_agent, "free_ports", lambda _: choices.pop(0))
    with ConsulAgent() as other:
        assert other.http_addr != agent.http_addr
        assert get(other, "/v1/status/leader")


def test_taken_ports_in_the_end(monkeypatch: pytest.MonkeyPatch, agent: ConsulAgent) -> None:
    """If every choice of ports is taken, the error says so in Consul's words."""
    taken = int(agent.http_addr.partition(":")[2])
    monkeypatch.setattr(consul_agent, "free_ports", lambda _: [taken, *free_ports(4)])
    with pytest.raises(ConsulFailed, match="address already in use"):
        ConsulAgent().start()


def test_not_started() -> None:
    """Before the first start there is no address and no process, and the error says what to do."""
    agent = ConsulAgent(binary=Path("/nowhere/consul"))
    agent.stop()
    for question in (lambda: agent.url, lambda: agent.pid, agent.kill):
        with pytest.raises(RuntimeError, match=r"call start\(\) first"):
            question()
    with pytest.raises(ConsulFailed, match="could not run `/nowhere/consul version`"):
        agent.start()
    assert not agent.running


@pytest.mark.parametrize(("version", "switched_off"), [((1, 8), 2), ((1, 13), 2), ((1, 14), 3)])
def test_unused_ports_are_off(version: tuple[int, int], switched_off: int) -> None:
    """Ports we do not use are off, and a version is not asked about ports it does not know."""
    ports = agent_config("n", {"http": 1}, version)["ports"]
    assert isinstance(ports, dict)
    assert list(ports.values()).count(-1) == switched_off


def test_version() -> None:
    """The program at hand tells its version."""
    assert consul_version(find_consul()) >= (1, 0)


def test_environment_stays_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token or address of the developer's reaches neither the agent nor its commands."""
    shows = tmp_path / "consul"
    shows.write_text('#!/bin/sh\n[ "$1" = version ] && echo Consul v1.8.7 || env\n')
    shows.chmod(0o755)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "secret")
    agent = ConsulAgent(binary=shows, folder=tmp_path)
    with pytest.raises(ConsulFailed, match="ended early"):
        agent.start()
    agent._ports = {"http": 1}
    shown = (tmp_path / "consul.log").read_text() + agent.cli("info")
    assert "PATH=" in shown
    assert "secret" not in shown
    assert json.loads((tmp_path / "defaults.json").read_text())["client_addr"] == "127.0.0.1"
    assert os.environ["CONSUL_HTTP_TOKEN"] == "secret"
