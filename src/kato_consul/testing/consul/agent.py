"""Consul agent for tests and development: in dev mode, on free ports, leaving no files behind."""

import json
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import httpx

from kato_consul.testing.consul.binary import find_consul
from kato_consul.testing.consul.config import (
    ConsulFailed,
    acl_config,
    agent_config,
    clean_environment,
    consul_version,
)
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.server_program import ServerProgram

__all__ = ["ConsulAgent", "ConsulFailed"]

PORTS = ("http", "dns", "serf_lan", "serf_wan", "server")
STARTING = "==> Starting Consul agent"  # in the log, at the beginning of each run
SYNCED = "Synced node info"  # in the log, once the catalog has the agent's own addresses
CLI_TIMEOUT = 30.0  # seconds


class ConsulAgent(ServerProgram):
    """A single Consul server in dev mode on 127.0.0.1, as a context manager.

    Args:
        binary: the Consul program; None: `find_consul`.
        folder: folder for the log and the configuration, which is kept; None: a temporary folder
            that `stop` removes.
        config: Consul's own configuration. Consul merges it over the agent's defaults; leave the
            ports and addresses as they are.
        token: enables ACLs. This token may do anything; requests without a token are denied.
    """

    FAILED, PORT_IN_USE, POLL = ConsulFailed, "address already in use", 0.05  # it needs 0.2-0.7 s
    FOLDER = "kato-consul-agent-"

    def __init__(
        self,
        *,
        binary: Path | None = None,
        folder: Path | None = None,
        config: Mapping[str, object] | None = None,
        token: str | None = None,
    ) -> None:
        self.node = f"agent-{uuid.uuid4().hex[:8]}"
        super().__init__(f"the Consul agent {self.node}")
        self._binary = binary
        self._config = {**(acl_config(token) if token else {}), **(config or {})}
        self._token = token
        self._given_folder = folder
        self._ports: dict[str, int] | None = None

    def restart(self, timeout: float = 30.0) -> None:
        """End the agent and start it on the same ports; `timeout` as for `start`.

        An agent in dev mode keeps everything in memory, so all services, keys and indexes are lost.
        """
        self._started.terminate()
        self.start(timeout)

    def repair(self, timeout: float = 30.0) -> None:
        """Undo what was done to it: one that ended is started on the same ports, a frozen one is
        resumed. `timeout` as for `start`."""
        if self.running:
            self.thaw()
        else:
            self.start(timeout)

    @property
    def http_addr(self) -> str:
        """`127.0.0.1:PORT`, the form of CONSUL_HTTP_ADDR."""
        return f"{HOST}:{self._port('http')}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{self.http_addr}"

    @property
    def dns_port(self) -> int:
        """The port of Consul's DNS interface, for UDP and TCP."""
        return self._port("dns")

    def cli(self, *args: str) -> str:
        """Run `consul ARGS…` against this agent and return its output.

        Raises ConsulFailed with its standard error if it fails, or if it takes more than 30 s.
        """
        command = " ".join(["consul", *args])
        try:
            completed = subprocess.run(
                [str(self._consul()), *args],
                env={
                    **clean_environment(),
                    "CONSUL_HTTP_ADDR": self.http_addr,
                    "CONSUL_HTTP_TOKEN": self._token or "",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=CLI_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConsulFailed(f"`{command}` took longer than {CLI_TIMEOUT:g} s") from error
        if completed.returncode != 0:
            raise ConsulFailed(
                f"`{command}` failed with exit status {completed.returncode}: "
                f"{completed.stderr.strip()}"
            )
        return completed.stdout

    @property
    def _has_ports(self) -> bool:
        return self._ports is not None

    def _forget_ports(self) -> None:
        self._ports = None

    def _port(self, name: str) -> int:
        if self._ports is None:
            raise RuntimeError(f"the agent {self.node} has no ports yet; call start() first")
        return self._ports[name]

    def _consul(self) -> Path:
        if self._binary is None:
            self._binary = find_consul()
        return self._binary

    def _folder(self) -> Path:
        if self._given_folder:
            self._given_folder.mkdir(parents=True, exist_ok=True)
            return self._given_folder
        return self._temporary_folder()

    def _end(self, process: ChildProcess) -> None:
        process.terminate()

    def _program(self) -> ChildProcess:
        program, folder = self._consul(), self._folder()
        if self._ports is None:
            self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        defaults = agent_config(self.node, self._ports, consul_version(program))
        argv = [str(program), "agent", *self._mode(folder)]
        for name, content in (("defaults.json", defaults), ("config.json", self._config)):
            (folder / name).write_text(json.dumps(content, indent=2))
            argv += ["-config-file", str(folder / name)]
        log = folder / "consul.log"
        return ChildProcess(argv, name=self._title, log=log, env=clean_environment())

    def _mode(self, folder: Path) -> list[str]:
        """Return the command line arguments for this kind of agent."""
        return ["-dev"]

    def _wait_until_ready(self, process: ChildProcess, deadline: float) -> str | None:
        # trust_env=False: a proxy from the environment must not be used for a local agent.
        token = {"X-Consul-Token": self._token} if self._token else {}
        with httpx.Client(base_url=self.url, headers=token, timeout=2.0, trust_env=False) as client:
            return self._wait_until(
                process, deadline, lambda: _is_ready(client, self.node, process)
            )


def _is_ready(client: httpx.Client, node: str, process: ChildProcess) -> bool:
    # A leader alone is not enough. The leader first registers the node without details. The agent
    # adds its addresses a moment later, and keeps the catalog up to date from then on. On a busy
    # machine the leader may do so after the agent, and then its addresses are missing for a minute
    # or more, until the agent compares all of its state again. But it has logged that it was done.
    try:
        leader = client.get("/v1/status/leader")
        node_response = client.get(f"/v1/catalog/node/{node}")
    except httpx.HTTPError:
        return False
    if not (leader.is_success and leader.json() and node_response.is_success):
        return False
    if not (entry := node_response.json()):
        return False
    this_run = process.log_tail(100).rpartition(STARTING)[2]
    return bool(entry["Node"].get("TaggedAddresses")) or SYNCED in this_run
