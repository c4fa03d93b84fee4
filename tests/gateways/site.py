"""A gateway, and the command that keeps its configuration true, in front of what Consul lists."""

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx

from kato_consul.testing import ConsulAgent
from kato_consul.testing.gateways import (
    EnvoyServer,
    GatewayProgram,
    HaproxyServer,
    NginxServer,
)
from kato_consul.testing.ports import HOST, free_ports
from tests.cli.running import Process, kato_consul, line_with, started
from tests.gateways.recorder import Recorder

KINDS: Mapping[str, type[GatewayProgram]] = {
    "nginx": NginxServer,
    "haproxy": HaproxyServer,
    "envoy": EnvoyServer,
}
SUFFIXES = {"nginx": "conf", "haproxy": "cfg", "envoy": "yaml"}

ANSWER_WITHIN = 30.0


@dataclass
class GatewaySite:
    """A gateway that runs, and the command beside it."""

    server: GatewayProgram
    command: Process

    def wait_for(self, text: str) -> str:
        """Return the command's next line with a text."""
        return line_with(self.command, text)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send one request on a connection of its own; return the status and the JSON.

        Raises:
            OSError, http.client.HTTPException: there was no answer.
        """
        connection = http.client.HTTPConnection(HOST, self.server.port, timeout=ANSWER_WITHIN)
        try:
            return call_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Return a connection to the gateway."""
        return socket.create_connection((HOST, self.server.port), ANSWER_WITHIN)


def call_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Send one request on a connection; return the status and the JSON, or the text."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    connection.request(method, path, data, sent)
    response = connection.getresponse()
    text = response.read()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text.decode()


def environment_of(kind: str, agent: ConsulAgent, service: str) -> dict[str, str]:
    """Return the environment of a command that checks with the gateway's own program."""
    program = KINDS[kind](Path(os.devnull), 1).binary
    return {
        "CONSUL_HTTP_ADDR": agent.http_addr,
        "KATO_CONSUL_SERVICE": service,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
    }


@contextlib.contextmanager
def gateway_site(
    kind: str,
    agent: ConsulAgent,
    service: str,
    folder: Path,
    *options: str | Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[GatewaySite]:
    """Write a configuration, start the gateway with it, and keep it true. ``env`` is added to the
    environment of the command."""
    (port,) = free_ports(1)
    out = folder / f"gateway-{port}.{SUFFIXES[kind]}"
    arguments = ("gateway", kind, "--out", out, "--listen", f"{HOST}:{port}", *options)
    env = {**environment_of(kind, agent, service), **(env or {})}
    written = kato_consul(*arguments, "--once", env=env)
    assert written.returncode == 0, written.stderr
    server = KINDS[kind](out, port)
    with server:
        reload = () if server.reload_command is None else ("--reload", server.reload_command)
        with started(*arguments, *reload, env=env) as command:
            line_with(command, "unchanged")
            yield GatewaySite(server, command)


def write_once(
    kind: str, agent: ConsulAgent, service: str, out: Path, *options: str | Path
) -> CompletedProcess[str]:
    """Write a configuration once."""
    env = environment_of(kind, agent, service)
    return kato_consul("gateway", kind, "--out", out, "--once", *options, env=env)


def register(agent: ConsulAgent, service: str, recorder: Recorder, **more: Any) -> None:
    """Register a recorder without a check: it is always passing."""
    definition = {
        "Name": service,
        "ID": recorder.name,
        "Address": HOST,
        "Port": recorder.port,
        **more,
    }
    put(agent, "service/register", definition)


def put(agent: ConsulAgent, what: str, body: object = None) -> None:
    """Send a PUT to the agent's own API."""
    response = httpx.put(f"{agent.url}/v1/agent/{what}", json=body, trust_env=False)
    assert response.status_code == 200, response.text
