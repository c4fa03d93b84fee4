"""Both registrars on a real agent on which another service has the id of a check."""

import asyncio
import dataclasses
import socket
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
from kato_consul.testing.ports import free_ports
from tests.cli.running import get_json
from tests.testing.waiting import eventually

Definitions = Sequence[ServiceDefinition]
Condition = Callable[[], bool]
Register = Callable[[ConsulAgent, Definitions], None]


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


def register(agent: ConsulAgent, definitions: Definitions) -> None:
    """Register with threads."""
    registrar = Registrar(definitions, Settings(consul_addr=agent.http_addr), wait=0)
    try:
        registrar.register()
    finally:
        registrar.close()


def register_async(agent: ConsulAgent, definitions: Definitions) -> None:
    """Register on asyncio."""

    async def run() -> None:
        registrar = AsyncRegistrar(definitions, Settings(consul_addr=agent.http_addr), wait=0)
        try:
            await registrar.register()
        finally:
            await registrar.aclose()

    asyncio.run(run())


def replace(
    agent: ConsulAgent, before: Definitions, after: Definitions, condition: Condition
) -> bool:
    """Replace the definitions of a registrar that runs, with threads; return whether the condition
    holds in the end."""
    settings = Settings(consul_addr=agent.http_addr)
    with Registrar(before, settings, wait=0) as registrar:
        registrar.replace(after)
        return eventually(condition)


def replace_async(
    agent: ConsulAgent, before: Definitions, after: Definitions, condition: Condition
) -> bool:
    """The same on asyncio."""

    async def run() -> bool:
        settings = Settings(consul_addr=agent.http_addr)
        async with AsyncRegistrar(before, settings, wait=0) as registrar:
            registrar.replace(after)
            return await asyncio.to_thread(eventually, condition)

    return asyncio.run(run())


def owners(agent: ConsulAgent) -> dict[str, tuple[str, str]]:
    """Return the service and the status of each check."""
    checks = get_json(agent, "/v1/agent/checks")
    return {name: (one["ServiceID"], one["Status"]) for name, one in checks.items()}


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


@pytest.mark.parametrize("run", [register, register_async])
def test_exchanged_check_ids(agent: ConsulAgent, run: Register) -> None:
    """Definitions may exchange the ids of their checks, or pass one on: none is lost."""
    one, two, three = (f"{run.__name__}-{number}" for number in range(3))
    run(agent, [mail(one, one), mail(two, two), mail(three, three)])
    run(agent, [mail(one, two), mail(two, one), mail(three, three)])
    assert (owners(agent)[two][0], owners(agent)[one][0]) == (one, two)
    run(agent, [mail(three, one), mail(two, f"{two}-new"), mail(one, two)])
    assert {one, two, f"{two}-new"} <= owners(agent).keys()
    assert owners(agent)[one][0] == three
    assert three not in owners(agent)


@pytest.mark.parametrize("run", [replace, replace_async])
def test_check_ids_exchanged_while_it_runs(agent: ConsulAgent, run: Callable[..., bool]) -> None:
    """A registrar that runs lets its instances exchange the ids of their checks."""
    one, two = f"{run.__name__}-1", f"{run.__name__}-2"

    def exchanged() -> bool:
        found = owners(agent)
        return (found.get(two, "")[:1], found.get(one, "")[:1]) == ((one,), (two,))

    before, after = [mail(one, one), mail(two, two)], [mail(one, two), mail(two, one)]
    assert run(agent, before, after, exchanged)


@pytest.mark.parametrize("run", [replace, replace_async])
def test_check_id_of_an_instance_that_leaves(agent: ConsulAgent, run: Callable[..., bool]) -> None:
    """The status of an instance that is not defined any more is not that of its successor."""
    old, new = f"{run.__name__}-old", f"{run.__name__}-new"
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as server:
        port = server.getsockname()[1]
        check = CheckDefinition(id=old, tcp=f"127.0.0.1:{port}", status="passing", interval="1h")
        before = ServiceDefinition(name="mail", id=old, port=port, check=check)
        dead = dataclasses.replace(check, tcp="127.0.0.1:9", status=None)
        after = ServiceDefinition(name="mail", id=new, port=9, check=dead)
        seen = []

        def registered() -> bool:
            seen.append(owners(agent).get(old, ("", "")))
            return seen[-1][0] == new

        assert run(agent, [before], [after], registered)
    assert seen[-1] == (new, "critical")
    assert old not in get_json(agent, "/v1/agent/services")


@pytest.mark.parametrize("kind", [Registrar, AsyncRegistrar])
def test_definitions_with_one_check_id(kind: Callable[..., object]) -> None:
    """Definitions that share the id of a check are refused before anything is sent."""
    with pytest.raises(DefinitionError, match="the check id 'alive' is used by definition 1"):
        kind([mail("a", "alive"), mail("b", "alive")], Settings(consul_addr="127.0.0.1:1"))
