"""Consul cluster on this machine: servers that elect a leader, and client agents.

It covers what an agent in dev mode cannot: a leader that is killed, an agent that restarts with or
without its data, and a loss of all servers while the client agents run.
"""

import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx

from kato_consul.testing.consul.agent import PORTS, ConsulAgent, ConsulFailed
from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.scratch import ScratchFolder
from kato_consul.testing.server_program import ATTEMPTS

POLL = 0.05  # seconds between two queries for the leader


class ClusterAgent(ConsulAgent):
    """One agent of a cluster. Its state is in a folder and survives a restart.

    The node keeps its id even if the state is lost, as with ``disable_host_node_id = false``.
    Otherwise Consul would refuse the new node: the name of a node that counts as alive is taken.
    """

    def __init__(
        self, *, binary: Path, folder: Path, ports: Mapping[str, int], config: Mapping[str, object]
    ) -> None:
        super().__init__(
            binary=binary, folder=folder, config={"node_id": str(uuid.uuid4()), **config}
        )
        self._ports = dict(ports)
        self._data = folder / "data"

    def wipe(self) -> None:
        """Kill the agent and delete its data. It is not started again."""
        self.kill()
        shutil.rmtree(self._data)

    @property
    def server_address(self) -> str:
        """The address for other servers, in the form that `/v1/status/leader` returns."""
        return f"{HOST}:{self._port('server')}"

    def _mode(self, folder: Path) -> list[str]:
        return ["-data-dir", str(self._data)]


class ConsulCluster:
    """A Consul cluster on 127.0.0.1, as a context manager.

    Each agent is a process with its own ports, and none outlives this process. As in production,
    instances are registered with the client agents, and clients query those. The attributes
    ``servers`` and ``clients`` are the agents.

    Args:
        servers: number of servers.
        clients: number of client agents.
        binary: the Consul program; None: `find_consul`.
    """

    def __init__(self, servers: int = 3, clients: int = 2, *, binary: Path | None = None) -> None:
        self._counts = (servers, clients)
        self._binary = binary
        self.servers: list[ClusterAgent] = []
        self.clients: list[ClusterAgent] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 60.0) -> None:
        """Start all agents and wait until each accepts registrations.

        Args:
            timeout: seconds for the servers, and as many for the client agents.

        Raises:
            ConsulFailed: an agent ended early or was not ready in time.
            ConsulNotFound: there is no Consul program.
        """
        for attempt in range(1, ATTEMPTS + 1):
            self._create()
            try:
                self.bring_up(self.servers, timeout)
                self.bring_up(self.clients, timeout)
            except ConsulFailed as error:
                self.stop()
                if ConsulAgent.PORT_IN_USE not in str(error) or attempt == ATTEMPTS:
                    raise
            except BaseException:  # also Ctrl-C: `with` does not call __exit__ then
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """End all agents and remove their data. Idempotent."""
        agents = [*self.clients, *self.servers]
        for agent in agents:  # killed: leaving the cluster would take seconds for each
            if agent.running:
                agent.kill()
        if agents:
            self._folder.remove()
        self.servers, self.clients = [], []

    def bring_up(self, agents: Iterable[ClusterAgent], timeout: float = 60.0) -> None:
        """Start agents in parallel, for servers wait for each other to elect a leader.

        Args:
            agents: agents of this cluster that do not run.
            timeout: seconds until each must be ready.

        Raises:
            ConsulFailed: an agent ended early or was not ready in time.
        """
        to_start = list(agents)
        with ThreadPoolExecutor(max(1, len(to_start))) as pool:
            for started in [pool.submit(agent.start, timeout) for agent in to_start]:
                started.result()

    def leader(self, timeout: float = 30.0) -> ClusterAgent:
        """Return the leader, on which all running servers agree.

        Args:
            timeout: seconds to wait until they agree.

        Raises:
            ConsulFailed: the servers have not agreed on one of them in time.
        """
        by_address = {server.server_address: server for server in self.servers}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            running = [server for server in self.servers if server.running]
            addresses = {_query_leader(server) for server in running}
            leader = by_address.get(addresses.pop()) if len(addresses) == 1 else None
            if leader is not None and leader.running:
                return leader
            time.sleep(POLL)
        raise ConsulFailed(f"the servers have not agreed on a leader after {timeout:g} s")

    def _create(self) -> None:
        self._folder = ScratchFolder("kato-consul-cluster-")
        binary = self._binary = self._binary or find_consul()
        servers, clients = self._counts
        found = free_ports((servers + clients) * len(PORTS))
        ports = [
            dict(zip(PORTS, found[first : first + len(PORTS)], strict=True))
            for first in range(0, len(found), len(PORTS))
        ]
        common = {
            "retry_join": [f"{HOST}:{of_agent['serf_lan']}" for of_agent in ports[:servers]],
            "retry_interval": "1s",
        }
        server_config = {"server": True, "bootstrap_expect": servers, **common}
        server_config["performance"] = {"raft_multiplier": 1}  # elections in a second, as advised

        def create(index: int, config: Mapping[str, object]) -> ClusterAgent:
            folder = self._folder.path / str(index)
            return ClusterAgent(binary=binary, folder=folder, ports=ports[index], config=config)

        self.servers = [create(index, server_config) for index in range(servers)]
        self.clients = [create(servers + index, common) for index in range(clients)]


def _query_leader(agent: ClusterAgent) -> str:
    try:
        response = httpx.get(f"{agent.url}/v1/status/leader", timeout=2.0, trust_env=False)
        return str(response.json()) if response.is_success else ""
    except httpx.HTTPError:
        return ""
