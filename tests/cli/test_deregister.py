"""`kato-consul deregister`: what it names is out of Consul, and nothing else."""

from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import Instance, all_at_once, at, ids, kato_consul


@pytest.fixture
def file(agent: ConsulAgent, service: str, instance: Instance, tmp_path: Path) -> Path:
    """A file of three instances, all of them registered."""
    path = tmp_path / "kato.toml"
    path.write_text("".join(instance.table(service, number) for number in (1, 2, 3)))
    assert kato_consul("register", "-f", path, "--wait", "0", env=at(agent)).returncode == 0
    return path


def test_by_id(agent: ConsulAgent, service: str, file: Path) -> None:
    """Ids can be given as they are or with --id; the others stay."""
    command = ["deregister", f"{service}-1", "--id", f"{service}-3", f"{service}-1"]
    done = kato_consul(*command, env=at(agent))
    assert done.returncode == 0, done.stderr
    assert [line[10:] for line in done.stdout.splitlines()] == [
        f"{service}-1: deregistered",
        f"{service}-3: deregistered",
    ]
    assert ids(agent, service) == {f"{service}-2"}


def test_by_file(agent: ConsulAgent, service: str, file: Path) -> None:
    """All that a file defines is taken out."""
    assert kato_consul("deregister", "-f", file, env=at(agent)).returncode == 0
    assert ids(agent, service) == set()


def test_one_that_is_not_there(agent: ConsulAgent, service: str) -> None:
    """One that is not registered is as good as taken out, and told apart."""
    done = kato_consul("deregister", f"{service}-1", env=at(agent))
    assert done.returncode == 0
    assert f"{service}-1: was not registered" in done.stdout


def test_too_little_or_too_much() -> None:
    """It wants ids, or a file: exit 2, and says so."""
    wrong: list[list[str]] = [[], ["kato-1", "-f", "kato.toml"], [""]]
    for done in all_at_once(*(["deregister", *given] for given in wrong)):
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
