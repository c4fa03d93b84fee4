"""What the integration tests run on: the same few handles on processes and on containers."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from kato_consul import Settings
from kato_consul.testing import Fleet

JOB = 90.0
"""Seconds for a command on the deployment; the registrar gives instances 60 s to be passing."""


class Deployment(Protocol):
    """Consul, and instances that are registered in it by their ids."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the instances."""

    @property
    def consul_addr(self) -> str:
        """Where Consul answers: host and port."""

    @property
    def settings(self) -> Settings:
        """Settings of a client; nothing from the environment."""

    def url(self, service_id: str) -> str:
        """Where an instance answers, past Consul and our client."""

    def kill(self, service_id: str) -> None:
        """End an instance with SIGKILL."""

    def start(self, service_id: str) -> None:
        """Start an instance that was killed, at the same address."""

    def register(self) -> None:
        """Run the registrar's job to its good end: `kato-consul register -f FILE`."""


class NativeDeployment:
    """On an agent and instances that are processes of this machine."""

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
        ours = {name: value for name, value in os.environ.items() if "CONSUL" not in name}
        checked(
            [sys.executable, "-m", "kato_consul", "register", "-f", str(self._file)],
            {**ours, "CONSUL_HTTP_ADDR": self.consul_addr},
        )


class ComposeDeployment:
    """On a project of Compose's that is up. `compose` is the command up to the project's name."""

    ids = ("kato-1", "kato-2", "kato-3")  # in the file, ids are named like services

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
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=JOB,
        check=False,
    )
    if done.returncode:
        raise AssertionError(
            f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
