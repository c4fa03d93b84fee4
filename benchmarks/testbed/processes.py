"""The testbed: three fast test servers, a real Consul agent, and nginx."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from kato_consul import Settings
from kato_consul.testing import ConsulAgent
from kato_consul.testing.gateways import NGINX as NGINX_PROGRAM
from kato_consul.testing.gateways import GatewayNotFound, NginxServer
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.programs import find_program
from kato_consul.testing.scratch import ScratchFolder

ROOT = Path(__file__).parents[2]
SERVICE = "kato"
START_TIMEOUT = 20.0  # seconds
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

NGINX = """
keepalive_requests 1000000;
map $uri $session {{ ~^/sessions/(?<id>[^/]+) $id; default $uri; }}
upstream round_robin {{ {servers} keepalive 64; keepalive_requests 1000000; }}
upstream hashed {{
  hash $session consistent; {servers} keepalive 64; keepalive_requests 1000000;
}}
proxy_http_version 1.1; proxy_set_header Connection "";
server {{ listen 127.0.0.1:{round_robin}; location / {{ proxy_pass http://round_robin; }} }}
server {{ listen 127.0.0.1:{hashed}; location / {{ proxy_pass http://hashed; }} }}
"""
"""It passes requests on, and does nothing else."""


@dataclass(frozen=True)
class Testbed:
    """A running testbed.

    ``urls`` and ``server_pids`` belong to the test servers. ``nginx_urls`` are two proxies: round
    robin, and hashed by session; None without nginx.
    """

    agent: ConsulAgent
    urls: list[str]
    server_pids: list[int]
    nginx_urls: tuple[str, str] | None

    @property
    def settings(self) -> Settings:
        """Client settings for this testbed; the environment is ignored."""
        return Settings(consul_addr=self.agent.http_addr, service=SERVICE)

    def servers_cpu(self) -> float:
        """Return the CPU seconds of the test servers so far; NaN on systems without /proc."""
        total = 0.0
        for pid in self.server_pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return float("nan")
            total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
        return total


@contextlib.contextmanager
def start_testbed() -> Iterator[Testbed]:
    """Start a testbed for the length of the block."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(ScratchFolder("kato-consul-bench-")).path
        agent = stack.enter_context(ConsulAgent())
        ports = free_ports(3)
        server_pids = []
        for number, port in enumerate(ports, 1):
            argv = [sys.executable, "-m", "benchmarks.testbed.server", str(port)]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            name = f"test server {number}"
            child = ChildProcess(argv, name=name, log=folder / f"{number}.log", env=env)
            server_pids.append(stack.enter_context(child).pid)
            _wait_for_port(child, port)
            register(agent, SERVICE, f"kato-{number}", port)
        urls = [f"http://{HOST}:{port}" for port in ports]
        nginx = stack.enter_context(passing_nginx(folder, ports))
        yield Testbed(agent, urls, server_pids, nginx)


def register(agent: ConsulAgent, service: str, instance_id: str, port: int) -> None:
    """Register an instance without a check: Consul reports it passing while the agent runs."""
    payload = {"Name": service, "ID": instance_id, "Address": HOST, "Port": port}
    with httpx.Client(base_url=agent.url, trust_env=False) as http:
        http.put("/v1/agent/service/register", json=payload).raise_for_status()


@contextlib.contextmanager
def passing_nginx(folder: Path, servers: list[int]) -> Iterator[tuple[str, str] | None]:
    """Run an nginx before servers on these ports.

    Yields the URLs at which it passes on round robin, and by a hash of the session; None if there
    is no nginx for this machine.
    """
    try:
        binary = find_program(NGINX_PROGRAM)
    except GatewayNotFound:
        yield None
        return
    round_robin, hashed = free_ports(2)
    config = folder / "nginx.conf"
    listed = "".join(f"server {HOST}:{port};" for port in servers)
    config.write_text(NGINX.format(servers=listed, round_robin=round_robin, hashed=hashed))
    with NginxServer(config, round_robin, binary=binary):
        yield f"http://{HOST}:{round_robin}", f"http://{HOST}:{hashed}"


def _wait_for_port(child: ChildProcess, port: int) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and child.running:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{child.name} did not start; end of its log:\n{child.log_tail()}")
