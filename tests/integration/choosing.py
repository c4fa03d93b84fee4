"""Where the integration tests run: on the compose project if that can be had, else natively.

It can be had when an engine of this machine answers, its Compose takes our file, and the images
that the file names are there; nothing is pulled or built. `VARIABLE` forces one of the two, and a
forced one that cannot be had is an error.
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
PROBE = 2.0
"""Seconds for finding out whether there is an engine: each test run waits for it."""
ANSWERING = 10.0
"""Seconds for each further question to an engine that did answer."""

Kind = Literal["docker", "native"]
Run = Callable[[Sequence[str], float], tuple[int, str]]
"""Runs a command for some seconds at most; its exit status, and what it wrote.

FileNotFoundError without the program, TimeoutExpired after the time.
"""


class NoSuchDeployment(Exception):
    """The deployment that is asked for cannot be had; the message says why."""


@dataclass(frozen=True)
class Choice:
    """A kind of deployment, and why it was chosen."""

    kind: Kind
    why: str

    def __str__(self) -> str:
        """For the header of a test run."""
        name = {"docker": "the compose project in docker/", "native": "native agent"}[self.kind]
        return f"integration tests on: {name} ({self.why})"


CHOICE = pytest.StashKey[Choice]()
"""Where a run keeps its choice."""


def run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """The real `Run`."""
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
    """Choose.

    Raises:
        NoSuchDeployment: one is forced that cannot be had, or that there is not.
    """
    forced = environ.get(VARIABLE, "")
    if forced not in ("", "docker", "native"):
        raise NoSuchDeployment(f"{VARIABLE} is {forced!r}; it may be docker or native")
    if forced == "native":
        return Choice("native", f"{VARIABLE} says so")
    reason = obstacle(run)
    if forced == "docker":
        if reason:
            raise NoSuchDeployment(f"{VARIABLE} is docker, but {reason}")
        return Choice("docker", f"{VARIABLE} says so")
    if reason:
        return Choice("native", reason)
    return Choice("docker", "an engine answers and the images are there")


def obstacle(run: Run) -> str | None:
    """What stands in the way of the compose project, or None."""
    try:
        return _no_engine(run) or _no_images(run)
    except FileNotFoundError:
        return "there is no docker command"
    except subprocess.TimeoutExpired as error:
        return f"`{' '.join(error.cmd)}` took longer than {error.timeout:.1f} s"


def _no_engine(run: Run) -> str | None:
    until = time.monotonic() + PROBE
    status, answer = run(["docker", "context", "inspect"], PROBE)
    if status == 0:
        # Ports are published on the engine's machine, and the tests look for them on this one.
        endpoint = str(json.loads(answer)[0]["Endpoints"]["docker"]["Host"])
        if not endpoint.startswith(("unix://", "npipe://")):
            return f"the Docker engine is on another machine: {endpoint}"
    try:
        left = max(until - time.monotonic(), 0.1)
        status, _ = run(["docker", "version", "--format", "{{.Server.Version}}"], left)
    except subprocess.TimeoutExpired:
        return f"no Docker engine answers within {PROBE:g} s"
    return "no Docker engine answers" if status else None


def _no_images(run: Run) -> str | None:
    status, _ = run(["docker", "compose", "version"], ANSWERING)
    if status:
        return "docker has no compose command"
    ask = ["docker", "compose", "-f", str(COMPOSE_FILE), "config", "--images"]
    status, answer = run(ask, ANSWERING)
    if status:
        words = answer.splitlines()[-1] if answer else f"exit status {status}"
        return f"`docker compose` does not take docker/{COMPOSE_FILE.name}: {words}"
    # Asked one by one, as the answer about several does not say which is missing.
    for image in dict.fromkeys(answer.split()):
        status, _ = run(["docker", "image", "inspect", "--format", "{{.Id}}", image], ANSWERING)
        if status:
            return f"the engine has no image {image}"
    return None
