"""Deployments for the integration tests: one interface to processes and to containers."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from kato_consul import Settings
from kato_consul.testing import Fleet

COMMAND_TIMEOUT = 90.0
"""Seconds for a command; the registrar waits up to 60 s until instances are passing."""


class Deployment(Protocol):
    """A Consul agent and instances that are registered in it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The service ids of the instances."""

    @property
    def consul_addr(self) -> str:
        """The agent's address: host and port."""

    @property
    def settings(self) -> Settings:
        """Client settings; the environment is ignored."""

    def url(self, service_id: str) -> str:
        """Return the URL of an instance, for requests without Consul and the client."""

    def kill(self, service_id: str) -> None:
        """Kill an instance with SIGKILL."""

    def start(self, service_id: str) -> None:
        """Start a killed instance again at the same address."""

    def register(self) -> None:
        """Run the registration job, `kato-consul register -f FILE`; it must succeed."""


class NativeDeployment:
    """An agent and instances as processes on this machine."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._file = fleet.definition_file()
        self.ids = tuple(fleet.instances)
        self.consul_addr = fleet.agent.http_addr
        self.settings = fleet.settings

    def url(self, service_id: str) -> str:
        """See `Deployment`."""
        return self._fleet.instances[service_id].url

    def kill(self, service_id: str) -> None:
        """See `Deployment`."""
        self._fleet.instances[service_id].kill()

    def start(self, service_id: str) -> None:
        """See `Deployment`."""
        self._fleet.instances[service_id].start()

    def register(self) -> None:
        """See `Deployment`."""
        env = {name: value for name, value in os.environ.items() if "CONSUL" not in name}
        checked(
            [sys.executable, "-m", "kato_consul", "register", "-f", str(self._file)],
            {**env, "CONSUL_HTTP_ADDR": self.consul_addr},
        )


class ComposeDeployment:
    """A running compose project. `compose` is the command including the project's name."""

    ids = ("kato-1", "kato-2", "kato-3")  # the compose file uses the names of the services as ids

    def __init__(self, compose: Sequence[str], consul: str, urls: Mapping[str, str]) -> None:
        self._compose = list(compose)
        self._urls = dict(urls)
        self.consul_addr = consul
        self.settings = Settings(consul_addr=consul)

    def url(self, service_id: str) -> str:
        """See `Deployment`."""
        return self._urls[service_id]

    def kill(self, service_id: str) -> None:
        """See `Deployment`."""
        checked([*self._compose, "kill", service_id])

    def start(self, service_id: str) -> None:
        """See `Deployment`."""
        checked([*self._compose, "start", service_id])

    def register(self) -> None:
        """See `Deployment`."""
        checked([*self._compose, "run", "--rm", "--no-deps", "-T", "registrar"])


def checked(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output; fail if it exits with another code than 0."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise AssertionError(
            f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
