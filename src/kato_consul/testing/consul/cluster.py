"""A real Consul cluster on this machine: servers that elect a leader, and client agents.

What an agent in dev mode cannot show: a leader that is killed, an agent that comes back with its
disk or without it, and all servers away while the agents stay.
"""

import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx

from kato_consul.testing.consul.agent import ATTEMPTS, PORTS, TAKEN, ConsulAgent, ConsulFailed
from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.scratch import ScratchFolder

POLL = 0.05  # seconds between two looks at who leads


class ClusterAgent(ConsulAgent):
    """One agent of a cluster. It keeps its state in a folder, and finds it there when it restarts.

    Its node keeps its id even when the state is lost, as with ``disable_host_node_id = false``:
    Consul lets nobody else take the name of a node that it holds for alive.
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
        """Kill the agent and lose all that it kept on disk. It is not started again."""
        self.kill()
        shutil.rmtree(self._data)

    @property
    def server_address(self) -> str:
        """Where other servers reach it, as `/v1/status/leader` has it."""
        return f"{HOST}:{self._port('server')}"

    def _mode(self, folder: Path) -> list[str]:
        return ["-data-dir", str(self._data)]


class ConsulCluster:
    """``servers`` servers and ``clients`` client agents on 127.0.0.1, as a context manager.

    Each is a process of its own on ports of its own, and none outlives this one. Instances are
    registered with the client agents, and clients ask those, as in production.
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
        """Start all, and wait until a registration at any of them would work.

        Raises:
            ConsulFailed: one ended early, or they were not ready in time.
        """
        for attempt in range(1, ATTEMPTS + 1):
            self._make()
            try:
                self.bring_up(self.servers, timeout)
                self.bring_up(self.clients, timeout)
            except ConsulFailed as error:
                self.stop()
                if TAKEN not in str(error) or attempt == ATTEMPTS:
                    raise
            except BaseException:  # also Ctrl-C: `with` would not stop what did not start
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """End all and remove what they kept. Idempotent."""
        agents = [*self.clients, *self.servers]
        for one in agents:  # nobody has to take leave of the others: that takes seconds each
            if one.running:
                one.kill()
        if agents:
            self._folder.remove()
        self.servers, self.clients = [], []

    def bring_up(self, agents: Iterable[ClusterAgent], timeout: float = 60.0) -> None:
        """Start agents beside each other: servers wait for each other to elect a leader."""
        waiting = list(agents)
        with ThreadPoolExecutor(max(1, len(waiting))) as pool:
            for started in [pool.submit(one.start, timeout) for one in waiting]:
                started.result()

    def leader(self, timeout: float = 30.0) -> ClusterAgent:
        """The server that leads, by the word of the servers that run.

        Raises:
            ConsulFailed: they have not agreed on one of them in time.
        """
        by_address = {one.server_address: one for one in self.servers}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            running = [one for one in self.servers if one.running]
            said = {_ask_leader(one) for one in running}
            leader = by_address.get(said.pop()) if len(said) == 1 else None
            if leader is not None and leader.running:
                return leader
            time.sleep(POLL)
        raise ConsulFailed(f"the servers have not agreed on a leader after {timeout:g} s")

    def _make(self) -> None:
        self._folder = ScratchFolder("kato-consul-cluster-")
        binary = self._binary = self._binary or find_consul()
        servers, clients = self._counts
        found = free_ports((servers + clients) * len(PORTS))
        ports = [
            dict(zip(PORTS, found[at : at + len(PORTS)], strict=True))
            for at in range(0, len(found), len(PORTS))
        ]
        common = {
            "retry_join": [f"{HOST}:{one['serf_lan']}" for one in ports[:servers]],
            "retry_interval": "1s",
        }
        of_servers = {"server": True, "bootstrap_expect": servers, **common}
        of_servers["performance"] = {"raft_multiplier": 1}  # elections in a second, as advised

        def made(place: int, config: Mapping[str, object]) -> ClusterAgent:
            folder = self._folder.path / str(place)
            return ClusterAgent(binary=binary, folder=folder, ports=ports[place], config=config)

        self.servers = [made(place, of_servers) for place in range(servers)]
        self.clients = [made(servers + place, common) for place in range(clients)]


def _ask_leader(agent: ClusterAgent) -> str:
    try:
        answer = httpx.get(f"{agent.url}/v1/status/leader", timeout=2.0, trust_env=False)
        return str(answer.json()) if answer.is_success else ""
    except httpx.HTTPError:
        return ""
