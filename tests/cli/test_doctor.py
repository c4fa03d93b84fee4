"""`kato-consul doctor`: on real instances that are ill in real ways."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import CheckDefinition, Registrar, ServiceDefinition, Settings
from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import at, kato_consul


class Pool:
    """Instances of one service, registered with a plain check of /health."""

    def __init__(self, agent: ConsulAgent, service: str, store: Path) -> None:
        self.agent, self.service, self.store = agent, service, store
        self.instances: dict[str, StandInKato] = {}
        self._open = ExitStack()

    def add(self, number: int, **given: Any) -> StandInKato:
        """One more, running and registered."""
        made = StandInKato(store=self.store, **{"name": self.service, **given})
        self._open.enter_context(made)
        self.instances[f"{self.service}-{number}"] = made
        check = CheckDefinition(http=f"{made.url}/health", interval="200ms", timeout="1s")
        definition = ServiceDefinition(
            name=self.service,
            id=f"{self.service}-{number}",
            address=made.host,
            port=made.port,
            check=check,
        )
        settings = Settings(consul_addr=self.agent.http_addr)
        self._open.enter_context(Registrar([definition], settings))
        return made

    def close(self) -> None:
        """End and deregister all."""
        self._open.close()

    def findings(self) -> tuple[int, dict[str, str]]:
        """What doctor finds: the exit code, and where by name."""
        done = kato_consul("doctor", "--json", "--service", self.service, env=at(self.agent))
        found = json.loads(done.stdout)["findings"]
        return done.returncode, {one["name"]: one["where"] for one in found}


@pytest.fixture
def pool(agent: ConsulAgent, service: str, tmp_path: Path) -> Iterator[Pool]:
    """A pool of two."""
    made = Pool(agent, service, tmp_path / "store.sqlite")
    try:
        made.add(1)
        made.add(2)
        yield made
    finally:
        made.close()


def test_all_is_well(pool: Pool) -> None:
    """A pool in order: exit 0, and one line that says so."""
    done = kato_consul("doctor", "--service", pool.service, env=at(pool.agent))
    assert done.returncode == 0, done.stdout
    assert done.stdout == f"{pool.service}: Consul and 2 instances looked at, nothing wrong\n"
    assert "leaving connections idle for 4 s" in done.stderr


def test_ill_in_many_ways(pool: Pool) -> None:
    """A green check over a dead store, another memory, several workers, short keep-alive, and one
    that is gone: each is found, where it is; exit 9."""
    first, second = pool.instances.values()
    pool.add(3, name="another", workers=2)
    pool.add(4, keep_alive=1)
    first.switch(store="down")
    second.kill()
    code, found = pool.findings()
    assert code == 9
    assert found["check.dishonest"].startswith(pool.service)
    assert found["pool.memory"] == f"service {pool.service!r}"
    assert found["instance.workers"] == f"{pool.service}-3"
    assert found["instance.keepalive"] == f"{pool.service}-4"
    assert {"instance.unreachable", "instance.ghost"} & set(found)


def test_a_full_store(pool: Pool) -> None:
    """A store that is read but takes no writes is found, though a plain check is green; no session
    of doctor's is left behind in one that does."""
    first, second = pool.instances.values()
    first.switch(store="full")
    code, found = pool.findings()
    assert (code, found) == (9, {"check.dishonest": f"{pool.service}-1"})
    assert httpx.get(f"{second.url}/sessions/count").json() == {"active_session_count": 0}


def test_nothing_registered(agent: ConsulAgent, service: str) -> None:
    """No instance at all is an error, with what to do."""
    done = kato_consul("doctor", "--service", service, env=at(agent))
    assert done.returncode == 9
    assert "no instance is registered [pool.empty]" in done.stdout


def test_no_consul() -> None:
    """Without Consul there is nothing to look at: exit 3."""
    assert kato_consul("doctor", "--consul", "127.0.0.1:1").returncode == 3
