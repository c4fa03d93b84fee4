"""`ConsulAgent`: ready after its start, separate from other agents, and removed afterwards."""

import json
import os
import time
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
    """An agent for the tests that do not change it."""
    with ConsulAgent() as agent:
        yield agent


def get(agent: ConsulAgent, path: str) -> object:
    """Send a GET request to the agent and return its JSON."""
    return httpx.get(f"{agent.url}{path}", trust_env=False).raise_for_status().json()


def register(agent: ConsulAgent, name: str) -> None:
    """Register a service without checks."""
    response = httpx.put(
        f"{agent.url}/v1/agent/service/register", json={"Name": name, "Port": 1}, trust_env=False
    )
    response.raise_for_status()


def test_a_started_agent_has_a_leader_and_its_node(agent: ConsulAgent) -> None:
    """A started agent has a leader, and its node is in the catalog."""
    assert get(agent, "/v1/status/leader")
    nodes = get(agent, "/v1/catalog/nodes")
    assert isinstance(nodes, list)
    assert [node["Node"] for node in nodes] == [agent.node]


def test_agent_whose_leader_forgot_its_addresses_is_ready() -> None:
    """On a busy machine a leader registers a node after its agent has, without the addresses."""
    with ConsulAgent() as agent:
        node = get(agent, f"/v1/catalog/node/{agent.node}")
        assert isinstance(node, dict)
        known = {"Node": agent.node, "ID": node["Node"]["ID"], "Address": node["Node"]["Address"]}
        url = f"{agent.url}/v1/catalog/register"
        httpx.put(url, json=known, trust_env=False).raise_for_status()
        node = get(agent, f"/v1/catalog/node/{agent.node}")
        assert isinstance(node, dict)
        assert not node["Node"]["TaggedAddresses"]
        assert agent._wait_until_ready(agent._started, time.monotonic() + 10.0) is None
        register(agent, "synced")
        assert eventually(lambda: get(agent, "/v1/catalog/service/synced") != [])


def test_addresses_are_those_of_the_agent(agent: ConsulAgent) -> None:
    """The agent listens on the addresses that the properties return."""
    assert agent.url == f"http://{agent.http_addr}"
    configuration = get(agent, "/v1/agent/self")
    assert isinstance(configuration, dict)
    assert configuration["DebugConfig"]["DNSPort"] == agent.dns_port
    assert configuration["DebugConfig"]["HTTPPort"] == int(agent.http_addr.partition(":")[2])


def test_cli_uses_this_agent(agent: ConsulAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """`consul` commands use this agent, whatever the environment variables are."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    monkeypatch.setenv("CONSUL_NAMESPACE", "other")
    assert agent.node in agent.cli("members")


def test_a_failed_command_is_an_error(agent: ConsulAgent) -> None:
    """The error of a failed command has the command and its output."""
    with pytest.raises(ConsulFailed, match=r"`consul kv get none` failed .* No key exists"):
        agent.cli("kv", "get", "none")


def test_registration_right_after_the_start() -> None:
    """A service registered right after the start is found; after a restart it is lost."""
    with ConsulAgent() as agent:
        register(agent, "early")
        assert eventually(lambda: get(agent, "/v1/health/service/early") != [])
        address, pid = agent.http_addr, agent.pid
        agent.restart()
        assert (agent.http_addr, agent.running) == (address, True)
        assert agent.pid != pid
        assert get(agent, "/v1/health/service/early") == []


def test_two_agents_are_separate(agent: ConsulAgent) -> None:
    """A second agent has its own ports, name and catalog."""
    with ConsulAgent() as other:
        assert {other.http_addr, other.node}.isdisjoint({agent.http_addr, agent.node})
        register(other, "elsewhere")
        assert eventually(lambda: get(other, "/v1/health/service/elsewhere") != [])
        assert get(agent, "/v1/health/service/elsewhere") == []


def test_kill_and_start_again() -> None:
    """A killed agent refuses connections, and has the same address when started again."""
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
    """A frozen agent runs but does not respond; thawed, it responds again."""
    with ConsulAgent() as agent:
        agent.freeze()
        assert agent.running
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{agent.url}/v1/status/leader", timeout=0.3, trust_env=False)
        agent.thaw()
        assert get(agent, "/v1/status/leader")
        agent.freeze()  # a frozen agent can be stopped
    assert not agent.running


def test_folder_is_kept_if_given(tmp_path: Path) -> None:
    """A given folder is kept and has the log; a temporary folder is removed by the stop."""
    with ConsulAgent(folder=tmp_path / "given") as given, ConsulAgent() as own:
        assert own._scratch is not None
        temporary = own._scratch.path
        assert (temporary / "consul.log").exists()
    given.stop()  # again: no effect
    assert "agent" in (tmp_path / "given/consul.log").read_text()
    assert not temporary.exists()


def test_config_overrides_the_defaults() -> None:
    """The caller's configuration overrides the defaults; the other defaults are kept."""
    with ConsulAgent(config={"node_meta": {"rack": "7"}, "log_level": "WARN"}) as agent:
        nodes = get(agent, "/v1/catalog/nodes")
        assert isinstance(nodes, list)
        assert [(n["Node"], n["Meta"]["rack"]) for n in nodes] == [(agent.node, "7")]
        assert "[INFO]" not in agent.log_tail()


def test_an_agent_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    """If the agent refuses its configuration, the error has its log."""
    agent = ConsulAgent(config={"no_such_setting": 1}, folder=tmp_path)
    with pytest.raises(ConsulFailed, match=r"(?s)ended early with exit status 1.*no_such_setting"):
        agent.start()
    assert not agent.running


def test_an_agent_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    """An agent that is not ready in time raises an error, and is not left running."""
    slow = tmp_path / "consul"
    slow.write_text('#!/bin/sh\n[ "$1" = version ] && echo Consul v1.8.7 || exec sleep 60\n')
    slow.chmod(0o755)
    agent = ConsulAgent(binary=slow)
    with pytest.raises(ConsulFailed, match="was not ready in time"):
        agent.start(timeout=0.3)
    assert not agent.running


def test_ports_in_use_are_replaced(monkeypatch: pytest.MonkeyPatch, agent: ConsulAgent) -> None:
    """If another program bound a port before Consul did, other ports are chosen."""
    taken = int(agent.http_addr.partition(":")[2])
    choices = [[taken, *free_ports(4)], free_ports(5)]
    monkeypatch.setattr(consul_agent, "free_ports", lambda _: choices.pop(0))
    with ConsulAgent() as other:
        assert other.http_addr != agent.http_addr
        assert get(other, "/v1/status/leader")


def test_only_ports_in_use_are_an_error(
    monkeypatch: pytest.MonkeyPatch, agent: ConsulAgent
) -> None:
    """If all chosen ports are in use, the error has Consul's message."""
    taken = int(agent.http_addr.partition(":")[2])
    monkeypatch.setattr(consul_agent, "free_ports", lambda _: [taken, *free_ports(4)])
    with pytest.raises(ConsulFailed, match="address already in use"):
        ConsulAgent().start()


def test_properties_before_the_start_are_errors() -> None:
    """Before the first start there is no address and no process; the error says what to do."""
    agent = ConsulAgent(binary=Path("/nowhere/consul"))
    agent.stop()
    for access in (lambda: agent.url, lambda: agent.pid, agent.kill):
        with pytest.raises(RuntimeError, match=r"call start\(\) first"):
            access()
    with pytest.raises(ConsulFailed, match="could not run `/nowhere/consul version`"):
        agent.start()
    assert not agent.running


@pytest.mark.parametrize(("version", "switched_off"), [((1, 8), 2), ((1, 13), 2), ((1, 14), 3)])
def test_unused_ports_are_disabled(version: tuple[int, int], switched_off: int) -> None:
    """Unused ports are disabled, but only those that the version knows."""
    ports = agent_config("n", {"http": 1}, version)["ports"]
    assert isinstance(ports, dict)
    assert list(ports.values()).count(-1) == switched_off


def test_consul_version() -> None:
    """The version of the Consul program is read."""
    assert consul_version(find_consul()) >= (1, 0)


def test_consul_variables_are_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tokens and addresses in the environment reach neither the agent nor its commands."""
    program = tmp_path / "consul"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo Consul v1.8.7 || env\n')
    program.chmod(0o755)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "secret")
    agent = ConsulAgent(binary=program, folder=tmp_path)
    with pytest.raises(ConsulFailed, match="ended early"):
        agent.start()
    agent._ports = {"http": 1}
    output = (tmp_path / "consul.log").read_text() + agent.cli("info")
    assert "PATH=" in output
    assert "secret" not in output
    assert json.loads((tmp_path / "defaults.json").read_text())["client_addr"] == "127.0.0.1"
    assert os.environ["CONSUL_HTTP_TOKEN"] == "secret"
