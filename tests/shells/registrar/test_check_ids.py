"""Both registrars on a real agent on which another service has the id of a check."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest

from kato_consul import (
    AsyncRegistrar,
    CheckDefinition,
    DefinitionError,
    Registrar,
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent
from tests.cli.running import get_json

Register = Callable[[ConsulAgent, Sequence[ServiceDefinition]], None]


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


def register(agent: ConsulAgent, definitions: Sequence[ServiceDefinition]) -> None:
    """Register with threads."""
    registrar = Registrar(definitions, Settings(consul_addr=agent.http_addr), wait=0)
    try:
        registrar.register()
    finally:
        registrar.close()


def register_async(agent: ConsulAgent, definitions: Sequence[ServiceDefinition]) -> None:
    """Register on asyncio."""

    async def run() -> None:
        registrar = AsyncRegistrar(definitions, Settings(consul_addr=agent.http_addr), wait=0)
        try:
            await registrar.register()
        finally:
            await registrar.aclose()

    asyncio.run(run())


def mail(service_id: str, check_id: str, port: int = 2525) -> ServiceDefinition:
    """Return an instance with one check."""
    check = CheckDefinition(id=check_id, tcp=f"127.0.0.1:{port}")
    return ServiceDefinition(name="mail", id=service_id, port=port, check=check)


@pytest.mark.parametrize("run", [register, register_async])
def test_check_of_another_service(agent: ConsulAgent, run: Register) -> None:
    """The second service is refused, and with it all that would be registered together."""
    name = run.__name__
    first, check_id = f"{name}-a", f"{name}-alive"
    run(agent, [mail(first, check_id)])
    with pytest.raises(DefinitionError) as caught:
        run(agent, [mail(f"{name}-c", f"{name}-c"), mail(f"{name}-b", check_id)])
    assert f"the check id '{check_id}' is that of a check of '{first}'" in str(caught.value)
    assert get_json(agent, "/v1/agent/checks")[check_id]["ServiceID"] == first
    assert not {f"{name}-b", f"{name}-c"} & set(get_json(agent, "/v1/agent/services"))
    run(agent, [mail(first, check_id, port=2526)])  # its own check may change
    assert get_json(agent, "/v1/agent/services")[first]["Port"] == 2526


@pytest.mark.parametrize("kind", [Registrar, AsyncRegistrar])
def test_definitions_with_one_check_id(kind: Callable[..., object]) -> None:
    """Definitions that share the id of a check are refused before anything is sent."""
    with pytest.raises(DefinitionError, match="the check id 'alive' is used by definition 1"):
        kind([mail("a", "alive"), mail("b", "alive")], Settings(consul_addr="127.0.0.1:1"))
