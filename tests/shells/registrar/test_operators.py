"""Draining and removing instances from code, with both registrars and engines."""

import asyncio
from collections.abc import Iterator

import pytest

from kato_consul import (
    AsyncRegistrar,
    CheckDefinition,
    Registrar,
    ServiceDefinition,
    Settings,
    StillRegistered,
)
from kato_consul.settings import ENGINES
from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import HTTP, client_of, get_json, ids, processes
from tests.testing.waiting import eventually

WORKERS = 4
BOX = "box-gone"


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture(scope="module")
def kato(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInKato]:
    """An instance with as many worker processes as KATO's image starts."""
    store = tmp_path_factory.mktemp("operators") / "store.sqlite"
    with StandInKato(store=store, workers=WORKERS) as running:
        assert eventually(lambda: processes(running) == WORKERS)
        yield running


def drained(definition: ServiceDefinition, settings: Settings, shell: str, within: float) -> bool:
    """Register an instance, drain it with a registrar of the shell, and return the result."""

    async def drain() -> bool:
        async with AsyncRegistrar([definition], settings) as registrar:
            return await registrar.drain(within)

    if shell == "async":
        return asyncio.run(drain())
    with Registrar([definition], settings) as registrar:
        return registrar.drain(within)


@pytest.mark.parametrize("shell", ["sync", "async"])
@pytest.mark.parametrize("engine", ENGINES)
def test_drain(agent: ConsulAgent, kato: StandInKato, shell: str, engine: str) -> None:
    """Checks keep no worker process busy, and a client does."""
    check = CheckDefinition(http=f"{kato.url}/health", interval="500ms")
    definition = ServiceDefinition(
        name="kato", id="kato-1", address=kato.host, port=kato.port, check=check
    )
    settings = Settings(consul_addr=agent.http_addr, engine=engine)
    assert drained(definition, settings, shell, 30.0) is True
    with client_of(kato):
        assert drained(definition, settings, shell, 2.5) is False


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_remove(agent: ConsulAgent, shell: str) -> None:
    """What another node has is an error that says so; what a dead node has is removed from there,
    and the agent's own instances are deregistered."""
    service = {"ID": "ghost-9", "Service": "ghost", "Port": 8000}
    body = {"Node": BOX, "Address": "127.0.0.9", "Service": service}
    HTTP.put(f"{agent.url}/v1/catalog/register", json=body).raise_for_status()
    own = {"ID": "ghost-1", "Name": "ghost", "Port": 8000}
    HTTP.put(f"{agent.url}/v1/agent/service/register", json=own).raise_for_status()
    definitions = [ServiceDefinition(name="ghost", id=f"ghost-{n}", port=8000) for n in (1, 9)]
    settings = Settings(consul_addr=agent.http_addr)

    async def remove(node: str | None) -> None:
        registrar = AsyncRegistrar(definitions, settings)
        try:
            await registrar.remove(node)
        finally:
            await registrar.aclose()

    def removed(node: str | None) -> None:
        if shell == "async":
            asyncio.run(remove(node))
            return
        registrar = Registrar(definitions, settings)
        try:
            registrar.remove(node)
        finally:
            registrar.close()

    with pytest.raises(StillRegistered, match=f"--node {BOX}") as caught:
        removed(None)
    assert caught.value.reasons.keys() == {"ghost-9"}
    assert ids(agent, "ghost") == set()
    removed(BOX)
    assert get_json(agent, "/v1/catalog/service/ghost") == []
