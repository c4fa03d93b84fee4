"""`kato-consul deregister`: deregisters the named instances, and no others."""

from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import HealthServer, agent_env, all_at_once, ids, kato_consul


@pytest.fixture
def file(agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path) -> Path:
    """A file of three instances, all of them registered."""
    path = tmp_path / "kato.toml"
    path.write_text("".join(instance.table(service, number) for number in (1, 2, 3)))
    assert kato_consul("register", "-f", path, "--wait", "0", env=agent_env(agent)).returncode == 0
    return path


def test_by_id(agent: ConsulAgent, service: str, file: Path) -> None:
    """Ids are arguments or given with --id; other instances stay registered."""
    command = ["deregister", f"{service}-1", "--id", f"{service}-3", f"{service}-1"]
    done = kato_consul(*command, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert [line[10:] for line in done.stdout.splitlines()] == [
        f"{service}-1: deregistered",
        f"{service}-3: deregistered",
    ]
    assert ids(agent, service) == {f"{service}-2"}


def test_by_file(agent: ConsulAgent, service: str, file: Path) -> None:
    """All instances in a file are deregistered."""
    assert kato_consul("deregister", "-f", file, env=agent_env(agent)).returncode == 0
    assert ids(agent, service) == set()


def test_unknown_instance(agent: ConsulAgent, service: str) -> None:
    """An instance that is not registered counts as deregistered, and is reported as such."""
    done = kato_consul("deregister", f"{service}-1", env=agent_env(agent))
    assert done.returncode == 0
    assert f"{service}-1: was not registered" in done.stdout


def test_missing_or_conflicting_options() -> None:
    """It needs ids, or a file: exit 2, with a message."""
    wrong: list[list[str]] = [[], ["kato-1", "-f", "kato.toml"], [""]]
    for done in all_at_once(*(["deregister", *given] for given in wrong)):
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
