"""What is measured against: three instances that answer at once, a real Consul agent, nginx."""

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from kato_consul import Settings
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.scratch import ScratchFolder

ROOT = Path(__file__).parents[1]
SERVICE = "kato"
UP_WITHIN = 20.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
daemon off; worker_processes 1; error_log stderr warn; pid {folder}/nginx.pid; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $uri $session {{ ~^/sessions/(?<id>[^/]+) $id; default $uri; }}
  upstream plain {{ {servers} keepalive 64; keepalive_requests 1000000; }}
  upstream hashed {{
    hash $session consistent; {servers} keepalive 64; keepalive_requests 1000000;
  }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://plain; }} }}
  server {{ listen 127.0.0.1:{hashed}; location / {{ proxy_pass http://hashed; }} }}
}}
"""


@dataclass(frozen=True)
class Site:
    """Where everything is. ``nginx`` are the URLs without and with hashing by session, if any."""

    agent: ConsulAgent
    urls: list[str]
    pids: list[int]
    nginx: tuple[str, str] | None

    @property
    def settings(self) -> Settings:
        """Of a client of these instances; nothing from the environment."""
        return Settings(consul_addr=self.agent.http_addr, service=SERVICE)

    def servers_cpu(self) -> float:
        """Seconds of CPU that the instances have taken so far; NaN where /proc is not."""
        taken = 0.0
        for pid in self.pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return float("nan")
            taken += (int(fields[11]) + int(fields[12])) / TICKS
        return taken


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """The site, up; and down again afterwards."""
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(ScratchFolder("kato-consul-bench-")).path
        agent = opened.enter_context(ConsulAgent())
        ports = free_ports(5)
        pids = []
        for number, port in enumerate(ports[:3], 1):
            argv = [sys.executable, "-m", "benchmarks.server", str(port)]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            name = f"answering server {number}"
            child = ChildProcess(argv, name=name, log=folder / f"{number}.log", env=env)
            pids.append(opened.enter_context(child).pid)
            _wait_for(child, port)
            register(agent, SERVICE, f"kato-{number}", port)
        urls = [f"http://{HOST}:{port}" for port in ports[:3]]
        in_front = _nginx(opened, folder, ports)
        yield Site(agent, urls, pids, in_front)


def register(agent: ConsulAgent, service: str, uid: str, port: int) -> None:
    """Put an instance into Consul, without a check: it passes as long as the agent is there."""
    payload = {"Name": service, "ID": uid, "Address": HOST, "Port": port}
    with httpx.Client(base_url=agent.url, trust_env=False) as http:
        http.put("/v1/agent/service/register", json=payload).raise_for_status()


def _nginx(opened: contextlib.ExitStack, folder: Path, ports: list[int]) -> tuple[str, str] | None:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        return None
    *servers, plain, hashed = ports
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",
            servers="".join(f"server {HOST}:{port};" for port in servers),
            plain=plain,
            hashed=hashed,
        )
    )
    argv = [program, "-p", str(folder), "-c", str(config)]
    child = ChildProcess(argv, name="nginx", log=folder / "nginx.log")
    opened.enter_context(child)
    _wait_for(child, plain)
    _wait_for(child, hashed)
    return f"http://{HOST}:{plain}", f"http://{HOST}:{hashed}"


def _wait_for(child: ChildProcess, port: int) -> None:
    until = time.monotonic() + UP_WITHIN
    while time.monotonic() < until and child.running:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{child.name} is not up; its last words:\n{child.log_tail()}")
