"""Choice of the deployment for the integration tests: the compose project, or native processes.

The compose project is used if a Docker engine on this machine answers, its Compose accepts the
compose file, and all images of that file are present. Nothing is pulled or built. `VARIABLE` forces
one of the two; forcing one that is not available is an error.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

VARIABLE = "KATO_CONSUL_TEST_DEPLOYMENT"
COMPOSE_FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
ENGINE_TIMEOUT = 2.0
"""Seconds to find out whether there is a Docker engine; each test run waits for it."""
COMMAND_TIMEOUT = 10.0
"""Seconds for each further docker command once an engine has answered."""

Kind = Literal["docker", "native"]
Run = Callable[[Sequence[str], float], tuple[int, str]]
"""Runs a command with a timeout in seconds; returns its exit status and its output.

Raises FileNotFoundError if there is no such program, TimeoutExpired after the timeout.
"""


class NoSuchDeployment(Exception):
    """The forced deployment is not available or not known; the message says why."""


@dataclass(frozen=True)
class Choice:
    """A kind of deployment, and the reason for it."""

    kind: Kind
    reason: str

    def __str__(self) -> str:
        """Return the line for the header of a test run."""
        name = {"docker": "the compose project in docker/", "native": "native agent"}[self.kind]
        return f"integration tests on: {name} ({self.reason})"


CHOICE = pytest.StashKey[Choice]()
"""The key under which pytest's configuration holds the choice."""


def run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Run a command; the default `Run`."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


def choose(environ: Mapping[str, str] = os.environ, run: Run = run) -> Choice:
    """Choose the deployment by `VARIABLE`, or by what is available.

    Raises:
        NoSuchDeployment: the forced deployment is not available, or the value is not known.
    """
    forced = environ.get(VARIABLE, "")
    if forced not in ("", "docker", "native"):
        raise NoSuchDeployment(f"{VARIABLE} is {forced!r}; it may be docker or native")
    if forced == "native":
        return Choice("native", f"set by {VARIABLE}")
    reason = why_not_docker(run)
    if forced == "docker":
        if reason:
            raise NoSuchDeployment(f"{VARIABLE} is docker, but {reason}")
        return Choice("docker", f"set by {VARIABLE}")
    if reason:
        return Choice("native", reason)
    return Choice("docker", "an engine answers and the images are present")


def why_not_docker(run: Run) -> str | None:
    """Return why the compose project is not available; None if it is."""
    try:
        return _why_no_engine(run) or _why_no_images(run)
    except FileNotFoundError:
        return "there is no docker command"
    except subprocess.TimeoutExpired as error:
        return f"`{' '.join(error.cmd)}` took longer than {error.timeout:.1f} s"


def _why_no_engine(run: Run) -> str | None:
    deadline = time.monotonic() + ENGINE_TIMEOUT
    status, output = run(["docker", "context", "inspect"], ENGINE_TIMEOUT)
    if status == 0:
        # Ports are published on the engine's machine, but the tests connect to this one.
        endpoint = str(json.loads(output)[0]["Endpoints"]["docker"]["Host"])
        if not endpoint.startswith(("unix://", "npipe://")):
            return f"the Docker engine is on another machine: {endpoint}"
    try:
        left = max(deadline - time.monotonic(), 0.1)
        status, _ = run(["docker", "version", "--format", "{{.Server.Version}}"], left)
    except subprocess.TimeoutExpired:
        return f"no Docker engine answers within {ENGINE_TIMEOUT:g} s"
    return "no Docker engine answers" if status else None


def _why_no_images(run: Run) -> str | None:
    status, _ = run(["docker", "compose", "version"], COMMAND_TIMEOUT)
    if status:
        return "docker has no compose command"
    command = ["docker", "compose", "-f", str(COMPOSE_FILE), "config", "--images"]
    status, output = run(command, COMMAND_TIMEOUT)
    if status:
        message = output.splitlines()[-1] if output else f"exit status {status}"
        return f"`docker compose` does not accept docker/{COMPOSE_FILE.name}: {message}"
    # Inspected one by one: the output for several does not say which image is missing.
    for image in dict.fromkeys(output.split()):
        status, _ = run(
            ["docker", "image", "inspect", "--format", "{{.Id}}", image], COMMAND_TIMEOUT
        )
        if status:
            return f"the engine has no image {image}"
    return None
