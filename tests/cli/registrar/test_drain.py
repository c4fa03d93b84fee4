"""`kato-consul drain`: clients switch to other instances, and it waits until they have left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import (
    agent_env,
    client_of,
    get_json,
    healths,
    ids,
    kato_consul,
    processes,
)
from tests.testing.waiting import eventually


@pytest.fixture
def kato(agent: ConsulAgent, service: str, tmp_path: Path) -> Iterator[StandInKato]:
    """A registered instance."""
    with StandInKato(store=tmp_path / "store.sqlite", name=service) as made:
        flags = ["--name", service, "--id", f"{service}-1", "--address", made.host]
        done = kato_consul(
            "register", *flags, "--port", str(made.port), "--interval", "3s", env=agent_env(agent)
        )
        assert done.returncode == 0, done.stderr
        yield made
        kato_consul("deregister", f"{service}-1", env=agent_env(agent))


def test_idle_instance(agent: ConsulAgent, service: str, kato: StandInKato) -> None:
    """An instance without clients is in maintenance mode, drained, and still registered; --off ends
    maintenance mode."""
    done = kato_consul("drain", f"{service}-1", "--reason", "new disks", env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert f"{service}-1: in maintenance mode: new disks" in done.stdout
    assert f"{service}-1: drained" in done.stdout
    check = get_json(agent, "/v1/agent/checks")[f"_service_maintenance:{service}-1"]
    assert (check["Status"], check["Notes"]) == ("critical", "new disks")
    assert ids(agent, service) == {f"{service}-1"}

    flags = ["--name", service, "--id", f"{service}-1", "--address", kato.host]
    more = ["--port", str(kato.port), "--interval", "3s", "--wait", "0"]
    assert kato_consul("register", *flags, *more, env=agent_env(agent)).returncode == 0
    assert f"_service_maintenance:{service}-1" in get_json(agent, "/v1/agent/checks")

    done = kato_consul("drain", "--off", "--all", "--service", service, env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert f"_service_maintenance:{service}-1" not in get_json(agent, "/v1/agent/checks")
    assert set(healths(agent, service).values()) == {"passing"}


def test_unknown_load(agent: ConsulAgent, service: str, kato: StandInKato) -> None:
    """When it is not known in time whether clients have left: exit 7, and why."""
    kato.freeze()
    try:
        done = kato_consul("drain", f"{service}-1", "--wait", "200ms", env=agent_env(agent))
    finally:
        kato.thaw()
    assert done.returncode == 7
    assert (
        "still busy at the end of the drain time (it did not report its number of requests in time)"
        in done.stdout
    )


def test_busy_instance(agent: ConsulAgent, service: str, kato: StandInKato) -> None:
    """A client that keeps sending short requests is detected: exit 7, and how many there were."""
    with client_of(kato):
        done = kato_consul("drain", f"{service}-1", "--wait", "3s", env=agent_env(agent))
    assert done.returncode == 7
    assert "of clients in the last" in done.stdout


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_checks_and_worker_processes(
    agent: ConsulAgent, service: str, tmp_path: Path, workers: int
) -> None:
    """An agent's check every second, as of `kato-consul dev`, is no client, whatever the number of
    worker processes: idle ends with 0; with a client it ends with 7."""
    store = tmp_path / "store.sqlite"
    with StandInKato(store=store, name=service, workers=workers) as kato:
        assert eventually(lambda: processes(kato) == workers)
        check = ["--check-http", f"{kato.url}/health", "--interval", "1s"]
        flags = ["--name", service, "--id", f"{service}-1", "--address", kato.host]
        more = ["--port", str(kato.port), *check]
        assert kato_consul("register", *flags, *more, env=agent_env(agent)).returncode == 0
        try:
            done = kato_consul("drain", f"{service}-1", env=agent_env(agent))
            assert done.returncode == 0, done.stdout
            with client_of(kato):
                command = ["drain", f"{service}-1", "--wait", "2s"]
                done = kato_consul(*command, env=agent_env(agent))
            assert done.returncode == 7, done.stdout
        finally:
            kato_consul("deregister", f"{service}-1", env=agent_env(agent))


def test_unknown_instance(agent: ConsulAgent, service: str) -> None:
    """An instance that this agent does not have: exit 1, with advice."""
    done = kato_consul("drain", f"{service}-1", env=agent_env(agent))
    assert done.returncode == 1
    assert "Use the agent that it was registered with" in done.stderr


@pytest.mark.parametrize("given", [[], ["kato-1", "--all"], [""]])
def test_missing_or_conflicting_options(given: list[str]) -> None:
    """It needs ids, a file, or --all: exit 2."""
    assert kato_consul("drain", *given).returncode == 2
