"""A registrar beside an agent that keeps its services on disk, as those of a deployment do: it is
restarted, restarted with its data wiped, killed, and hung. Each time the instance is back and
passing, once (within 2 s of the agent's return: `tests/faults/registrar_times.py` measures it).
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
    """A server of its own cluster, on fixed ports, with a folder for what it knows."""

    def __init__(self, folder: Path) -> None:
        http, lan, server = free_ports(3)
        self.address = f"127.0.0.1:{http}"
        self.data = folder / "data"
        ports = {"http": http, "serf_lan": lan, "server": server, "dns": -1, "serf_wan": -1}
        settings = {"server": True, "bootstrap_expect": 1, "bind_addr": "127.0.0.1"}
        config = {**settings, "ports": ports, "data_dir": str(self.data), "node_name": "on-disk"}
        config |= {"disable_update_check": True, "leave_on_terminate": False}
        # Elections for a machine of its own, not for a continent (Consul's default is 5).
        config |= {"performance": {"raft_multiplier": 1}}
        (folder / "config.json").write_text(json.dumps(config))
        argv = [str(find_consul()), "agent", "-config-file", str(folder / "config.json")]
        self.process = ChildProcess(argv, name="consul", log=folder / "consul.log")

    def start(self) -> None:
        """Start it, and wait until it has a leader."""
        self.process.start()
        assert eventually(lambda: self.ask("/v1/status/leader") not in (None, "")), (
            self.process.log_tail()
        )

    def wipe(self) -> None:
        """Take away what it knows."""
        shutil.rmtree(self.data)

    def ask(self, path: str) -> object:
        """Its answer; None when there is none."""
        try:
            answer = httpx.get(f"http://{self.address}{path}", trust_env=False)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def passing(self) -> bool:
        """Whether the instance is there and passing, in the catalog and once."""
        found = self.ask("/v1/health/checks/kato")
        if not isinstance(found, list):
            return False
        return [(one["ServiceID"], one["Status"]) for one in found] == [("kato-1", "passing")]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentOnDisk]:
    """One that runs."""
    made = AgentOnDisk(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.process.terminate()


def test_what_befalls_an_agent(agent: AgentOnDisk, tmp_path: Path) -> None:
    """Restarted, wiped, killed, hung: the instance is back and passing each time, and gone from the
    agent at the end."""
    with StandInKato(store=tmp_path / "store.sqlite") as kato:
        probe = ProbeDefinition(interval="500ms")
        one = ServiceDefinition(
            name="kato", id="kato-1", address=kato.host, port=kato.port, probe=probe
        )
        heard: list[str] = []

        def on_event(event: RegistrarEvent, who: str, /, **fields: Any) -> None:
            heard.append(event.value)

        with Registrar([one], Settings(consul_addr=agent.address), wait=30, on_event=on_event):
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
            heard.clear()
            # Until the guardian has met it: after all of the 10 s that an answer may take.
            try:
                assert eventually(lambda: "consul.error" in heard, within=60.0)
            finally:
                agent.process.thaw()
            assert eventually(agent.passing, within=60.0)
        assert agent.ask("/v1/agent/services") == {}
