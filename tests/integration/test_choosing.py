"""Choice of the deployment: each outcome has a reason, and nothing is chosen silently."""

import json
import subprocess
from collections.abc import Sequence

import pytest

from tests.integration.choosing import (
    COMPOSE_FILE,
    ENGINE_TIMEOUT,
    VARIABLE,
    Choice,
    NoSuchDeployment,
    choose,
    run,
)

LOCAL_ENGINE = (0, json.dumps([{"Endpoints": {"docker": {"Host": "unix:///run/docker.sock"}}}]))
REMOTE_ENGINE = (0, json.dumps([{"Endpoints": {"docker": {"Host": "ssh://builder"}}}]))
AVAILABLE = {
    "context": LOCAL_ENGINE,
    "version": (0, "28.0.1"),
    "version_of_compose": (0, "2.26.1"),
    "compose": (0, "ours\nours\nours:2\nconsul:1"),
    "image": (0, "sha256:0123"),
}


class FakeDocker:
    """A docker command whose results depend on its first argument: status and text, or an error."""

    def __init__(self, **results: tuple[int, str] | Exception) -> None:
        self.results = {**AVAILABLE, **results}
        self.last_arguments: list[str] = []

    def __call__(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        assert command[0] == "docker"
        self.last_arguments.append(command[-1])
        name = "version_of_compose" if command[1:] == ["compose", "version"] else command[1]
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        return result


UNAVAILABLE: dict[str, tuple[FakeDocker, str]] = {
    "no command": (FakeDocker(context=FileNotFoundError()), "there is no docker command"),
    "no engine": (FakeDocker(version=(1, "Cannot connect")), "no Docker engine answers"),
    "hung engine": (
        FakeDocker(version=subprocess.TimeoutExpired(["docker"], 2)),
        f"no Docker engine answers within {ENGINE_TIMEOUT:g} s",
    ),
    "remote engine": (
        FakeDocker(context=REMOTE_ENGINE),
        "the Docker engine is on another machine: ssh://builder",
    ),
    "no compose": (
        FakeDocker(version_of_compose=(1, "Run 'docker --help'")),
        "docker has no compose command",
    ),
    "old compose": (
        FakeDocker(compose=(15, "a warning\nconfigs.kato.toml: no content")),
        "`docker compose` does not accept docker/compose.yaml: configs.kato.toml: no content",
    ),
    "slow compose": (
        FakeDocker(compose=subprocess.TimeoutExpired(["docker", "compose"], 10)),
        "`docker compose` took longer than 10.0 s",
    ),
    "no image": (FakeDocker(image=(1, "No such image")), "the engine has no image ours"),
}


@pytest.mark.parametrize(("docker", "reason"), UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_native_with_reason_if_docker_is_not_available(docker: FakeDocker, reason: str) -> None:
    """Without the compose project the choice is native, and the header says why."""
    choice = choose({}, docker)
    assert choice == Choice("native", reason)
    assert str(choice) == f"integration tests on: native agent ({reason})"


@pytest.mark.parametrize(("docker", "reason"), UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_forced_docker_fails_if_not_available(docker: FakeDocker, reason: str) -> None:
    """Forcing docker where it is not available is an error with the reason, not a fallback."""
    with pytest.raises(NoSuchDeployment) as caught:
        choose({VARIABLE: "docker"}, docker)
    assert str(caught.value) == f"{VARIABLE} is docker, but {reason}"


@pytest.mark.parametrize("forced", ["", "docker"])
def test_docker_if_engine_and_images_are_available(forced: str) -> None:
    """With an engine and all images the choice is docker; each image is inspected once."""
    docker = FakeDocker()
    assert choose({VARIABLE: forced}, docker).kind == "docker"
    assert docker.last_arguments[-3:] == ["ours", "ours:2", "consul:1"]


def test_forced_native_runs_no_docker_command() -> None:
    """Forcing native does not query the engine."""
    docker = FakeDocker()
    assert choose({VARIABLE: "native"}, docker).kind == "native"
    assert docker.last_arguments == []


def test_unknown_value_is_an_error() -> None:
    """A value other than docker or native is an error, because it would be ignored silently."""
    with pytest.raises(NoSuchDeployment, match="'podman'; it may be docker or native"):
        choose({VARIABLE: "podman"}, FakeDocker())


def test_run_returns_status_and_output() -> None:
    """A real command returns its status with stdout, or with stderr if it failed."""
    assert run(["sh", "-c", "echo out; echo err >&2"], 10) == (0, "out")
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "err")
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sleep", "10"], 0.05)


def test_compose_file_exists() -> None:
    """The compose file that is passed to Compose exists."""
    assert COMPOSE_FILE.is_file()
