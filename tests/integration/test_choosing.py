"""What the integration tests run on is chosen and told; nothing is chosen in silence."""

import json
import subprocess
from collections.abc import Sequence

import pytest

from tests.integration.choosing import (
    COMPOSE_FILE,
    PROBE,
    VARIABLE,
    Choice,
    NoSuchDeployment,
    choose,
    run,
)

HERE = (0, json.dumps([{"Endpoints": {"docker": {"Host": "unix:///run/docker.sock"}}}]))
AWAY = (0, json.dumps([{"Endpoints": {"docker": {"Host": "ssh://builder"}}}]))
GOOD = {
    "context": HERE,
    "version": (0, "28.0.1"),
    "version_of_compose": (0, "2.26.1"),
    "compose": (0, "ours\nours\nours:2\nconsul:1"),
    "image": (0, "sha256:0123"),
}


class Docker:
    """A docker command that answers by its first argument: status and text, or an error."""

    def __init__(self, **answers: tuple[int, str] | Exception) -> None:
        self.answers = {**GOOD, **answers}
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str], seconds: float) -> tuple[int, str]:
        assert command[0] == "docker"
        self.asked.append(command[-1])
        name = "version_of_compose" if command[1:] == ["compose", "version"] else command[1]
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


IN_THE_WAY: dict[str, tuple[Docker, str]] = {
    "no command": (Docker(context=FileNotFoundError()), "there is no docker command"),
    "no engine": (Docker(version=(1, "Cannot connect")), "no Docker engine answers"),
    "hung engine": (
        Docker(version=subprocess.TimeoutExpired(["docker"], 2)),
        f"no Docker engine answers within {PROBE:g} s",
    ),
    "engine elsewhere": (
        Docker(context=AWAY),
        "the Docker engine is on another machine: ssh://builder",
    ),
    "no compose": (
        Docker(version_of_compose=(1, "Run 'docker --help'")),
        "docker has no compose command",
    ),
    "old compose": (
        Docker(compose=(15, "a warning\nconfigs.kato.toml: no content, please")),
        "`docker compose` does not take docker/compose.yaml: configs.kato.toml: no content, please",
    ),
    "slow compose": (
        Docker(compose=subprocess.TimeoutExpired(["docker", "compose"], 10)),
        "`docker compose` took longer than 10.0 s",
    ),
    "no image": (Docker(image=(1, "No such image")), "the engine has no image ours"),
}


@pytest.mark.parametrize(("docker", "reason"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_native_with_the_reason(docker: Docker, reason: str) -> None:
    """Where the compose project cannot be had, it is the native agent, and the header says why."""
    choice = choose({}, docker)
    assert choice == Choice("native", reason)
    assert str(choice) == f"integration tests on: native agent ({reason})"


@pytest.mark.parametrize(("docker", "reason"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_docker_forced_in_vain(docker: Docker, reason: str) -> None:
    """Forced where it cannot be had, docker is an error that says why, not something else."""
    with pytest.raises(NoSuchDeployment) as caught:
        choose({VARIABLE: "docker"}, docker)
    assert str(caught.value) == f"{VARIABLE} is docker, but {reason}"


@pytest.mark.parametrize("forced", ["", "docker"])
def test_docker_where_it_can_be_had(forced: str) -> None:
    """With an engine and every image, it is the compose project; each image is asked for once."""
    docker = Docker()
    assert choose({VARIABLE: forced}, docker).kind == "docker"
    assert docker.asked[-3:] == ["ours", "ours:2", "consul:1"]


def test_native_forced() -> None:
    """Forced, native asks no engine."""
    docker = Docker()
    assert choose({VARIABLE: "native"}, docker).kind == "native"
    assert docker.asked == []


def test_a_word_that_is_neither() -> None:
    """Another word is an error: it would be skipped in silence."""
    with pytest.raises(NoSuchDeployment, match="'podman'; it may be docker or native"):
        choose({VARIABLE: "podman"}, Docker())


def test_commands_are_really_run() -> None:
    """A real command's status and words come back, its errors' words when it fails."""
    assert run(["sh", "-c", "echo out; echo err >&2"], 10) == (0, "out")
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "err")
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sleep", "10"], 0.05)


def test_the_file_is_there() -> None:
    """The compose file that Compose is asked about exists."""
    assert COMPOSE_FILE.is_file()
