"""Registrar and agent restarts: the agent keeps its services on disk, as in a deployment.

The agent is restarted, restarted with its data wiped, killed, and hung. Each time the instance is
registered and passing again, exactly once (within 2 s of the agent's return, as measured by
`tests/faults/registrar_times.py`).
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import ProbeDefinition, Registrar, ServiceDefinition, Settings
from kato_consul._registration.events import RegistrarEvent
from kato_consul.testing import StandInKato, find_consul
from kato_consul.testing.ports import free_ports
from kato_consul.testing.processes import ChildProcess
from tests.testing.waiting import eventually


class AgentOnDisk:
    """A Consul server, the only one of its cluster, on fixed ports and with its data on disk."""

    def __init__(self, folder: Path) -> None:
        http, lan, server = free_ports(3)
        self.address = f"127.0.0.1:{http}"
        self.data = folder / "data"
        ports = {"http": http, "serf_lan": lan, "server": server, "dns": -1, "serf_wan": -1}
        settings = {"server": True, "bootstrap_expect": 1, "bind_addr": "127.0.0.1"}
        config = {**settings, "ports": ports, "data_dir": str(self.data), "node_name": "on-disk"}
        config |= {"disable_update_check": True, "leave_on_terminate": False}
        # Fast elections, for servers on one host (Consul's default is 5, for wide-area networks).
        config |= {"performance": {"raft_multiplier": 1}}
        (folder / "config.json").write_text(json.dumps(config))
        argv = [str(find_consul()), "agent", "-config-file", str(folder / "config.json")]
        self.process = ChildProcess(argv, name="consul", log=folder / "consul.log")

    def start(self) -> None:
        """Start the agent, and wait until its cluster has a leader."""
        self.process.start()
        assert eventually(lambda: self.query("/v1/status/leader") not in (None, ""), within=60.0), (
            self.process.log_tail()
        )

    def wipe(self) -> None:
        """Delete the agent's data."""
        shutil.rmtree(self.data)

    def query(self, path: str) -> object:
        """Return the agent's response; None if it does not answer with 200."""
        try:
            response = httpx.get(f"http://{self.address}{path}", trust_env=False)
        except httpx.TransportError:
            return None
        return response.json() if response.status_code == 200 else None

    def passing(self) -> bool:
        """Return whether the catalog has the instance exactly once, and passing."""
        checks = self.query("/v1/health/checks/kato")
        if not isinstance(checks, list):
            return False
        return [(check["ServiceID"], check["Status"]) for check in checks] == [
            ("kato-1", "passing")
        ]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentOnDisk]:
    """A running agent."""
    running = AgentOnDisk(tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.process.terminate()


def test_instance_is_passing_again_after_each_agent_failure(
    agent: AgentOnDisk, tmp_path: Path
) -> None:
    """After a restart, a wipe, a kill and a hang of the agent the instance is passing again.

    At the end it is deregistered.
    """
    with StandInKato(store=tmp_path / "store.sqlite") as kato:
        probe = ProbeDefinition(interval="500ms")
        definition = ServiceDefinition(
            name="kato", id="kato-1", address=kato.host, port=kato.port, probe=probe
        )
        events: list[str] = []

        def on_event(event: RegistrarEvent, instance: str, /, **fields: Any) -> None:
            events.append(event.value)

        with Registrar(
            [definition], Settings(consul_addr=agent.address), wait=30, on_event=on_event
        ):
            assert agent.passing()

            agent.process.terminate()
            agent.start()
            assert eventually(agent.passing, within=60.0)

            agent.process.terminate()
            agent.wipe()
            agent.start()
            assert eventually(agent.passing, within=60.0)

            agent.process.kill()
            agent.start()
            assert eventually(agent.passing, within=60.0)

            agent.process.freeze()
            events.clear()
            # The reconciler reports the hang only after the 10 s that a response may take.
            try:
                assert eventually(lambda: "consul.error" in events, within=60.0)
            finally:
                agent.process.thaw()
            assert eventually(agent.passing, within=60.0)
        assert agent.query("/v1/agent/services") == {}
