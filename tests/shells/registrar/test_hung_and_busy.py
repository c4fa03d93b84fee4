"""Both registrars with instances that are hung, and with those on a busy machine."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from kato_consul import (
    AsyncRegistrar,
    ProbeDefinition,
    Registrar,
    ServiceDefinition,
    Settings,
    diagnose,
)
from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports
from tests.cli.running import get_json, healths
from tests.testing.waiting import eventually

QUICK_TIMEOUT = 2.0  # seconds
QUICK = ProbeDefinition(interval="500ms", timeout=f"{QUICK_TIMEOUT:g}s", slow="1s")


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture(scope="module")
def publishing_agent() -> Iterator[ConsulAgent]:
    """An agent that publishes a changed output soon, and not after minutes."""
    with ConsulAgent(config={"check_update_interval": "100ms"}) as running:
        yield running


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """A real instance."""
    with StandInKato(store=tmp_path / "store.sqlite") as running:
        yield running


def definition(kato: StandInKato) -> ServiceDefinition:
    """Return the definition of the instance to register."""
    return ServiceDefinition(
        name="kato", id="kato-1", address=kato.host, port=kato.port, probe=QUICK
    )


def settings(agent: ConsulAgent) -> Settings:
    """Return the settings for this agent."""
    return Settings(consul_addr=agent.http_addr)


@pytest.mark.parametrize("engine", ["httptools", "httpx"])
def test_hung_instance_is_returned_until_it_answers(
    agent: ConsulAgent, kato: StandInKato, engine: Literal["httptools", "httpx"]
) -> None:
    """A frozen instance is hung from its first unanswered request until its next answer."""
    with Registrar([definition(kato)], replace(settings(agent), engine=engine)) as registrar:
        assert registrar.hung() == {}
        kato.freeze()
        assert eventually(lambda: registrar.hung().get("kato-1", 0.0) > QUICK_TIMEOUT)
        hung = "hung: it accepts connections and does not answer"
        assert eventually(lambda: check_output(agent) == hung)
        kato.thaw()
        assert eventually(lambda: registrar.hung() == {})
        kato.kill()  # refuses connections: that is no hang
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        assert registrar.hung() == {}


@pytest.mark.parametrize("engine", ["httptools", "httpx"])
def test_hung_instance_is_returned_until_it_answers_async(
    agent: ConsulAgent, kato: StandInKato, engine: Literal["httptools", "httpx"]
) -> None:
    """The same on asyncio."""

    async def main() -> None:
        chosen = replace(settings(agent), engine=engine)
        async with AsyncRegistrar([definition(kato)], chosen) as registrar:
            assert registrar.hung() == {}
            kato.freeze()
            assert await asyncio.to_thread(
                eventually, lambda: registrar.hung().get("kato-1", 0.0) > QUICK_TIMEOUT
            )
            kato.thaw()
            assert await asyncio.to_thread(eventually, lambda: registrar.hung() == {})

    asyncio.run(main())


@pytest.mark.parametrize("engine", ["httptools", "httpx"])
@pytest.mark.parametrize("shell", ["sync", "async"])
def test_hung_instance_with_a_full_queue_of_connections(
    publishing_agent: ConsulAgent, engine: Literal["httptools", "httpx"], shell: str
) -> None:
    """It is still hung when it accepts no more connections; doctor finds no other reason."""
    agent = publishing_agent
    probe = replace(QUICK, interval="100ms", timeout="300ms")
    chosen = replace(settings(agent), engine=engine, connect_timeout=0.3, service="kato")
    with (
        socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=0) as server,
        ExitStack() as open_now,
    ):
        port = server.getsockname()[1]
        full = ServiceDefinition(
            name="kato", id="kato-1", address="127.0.0.1", port=port, probe=probe
        )

        def check(registrar: Registrar | AsyncRegistrar) -> None:
            assert eventually(lambda: registrar.hung() != {})
            with suppress(TimeoutError):
                while True:
                    address = server.getsockname()
                    open_now.enter_context(socket.create_connection(address, timeout=0.3))
            # A hang that ends, or begins anew, never gets this long.
            enough = registrar.hung()["kato-1"] + 1.5
            assert eventually(lambda: registrar.hung().get("kato-1", 0.0) > enough)
            assert check_output(agent) == "hung: it accepts connections and does not answer"

            def findings() -> list[str]:
                return [one.name for one in diagnose(chosen).findings if one.where == "kato-1"]

            assert eventually(lambda: findings() == ["instance.hung"])

        async def check_async() -> None:
            async with AsyncRegistrar([full], chosen, wait=0) as registrar:
                await asyncio.to_thread(check, registrar)

        if shell == "async":
            asyncio.run(check_async())
        else:
            with Registrar([full], chosen, wait=0) as registrar:
                check(registrar)


@pytest.mark.parametrize("issue", ["High CPU usage", "High memory usage"])
def test_busy_machine_stays_passing_with_the_issue_in_the_output(
    agent: ConsulAgent, kato: StandInKato, issue: str
) -> None:
    """KATO reports itself as degraded or unhealthy by its machine's load: it stays passing."""
    with Registrar([definition(kato)], settings(agent)):
        kato.switch(issues=[issue])
        assert eventually(lambda: check_output(agent) == f"its machine is busy: {issue}")
        assert healths(agent, "kato") == {"kato-1": "passing"}
        kato.switch(issues=[issue, "High error rate"])
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "warning"})
        assert eventually(lambda: check_output(agent).endswith(f"{issue}, High error rate"))
        kato.switch(issues=[])
        assert eventually(lambda: check_output(agent) == "KATO and its store answer")


def test_warning_on_load_for_a_definition_that_asks_for_it(
    agent: ConsulAgent, kato: StandInKato
) -> None:
    """With ``warn_on_load`` an instance on a busy machine is in warning, never critical."""
    asking = replace(definition(kato), probe=replace(QUICK, warn_on_load=True))
    kato.switch(issues=["High memory usage"])
    with Registrar([asking], settings(agent)):
        assert healths(agent, "kato") == {"kato-1": "warning"}
        assert check_output(agent) == "/health reports unhealthy: High memory usage"


def test_startup_job_on_a_busy_machine(agent: ConsulAgent, kato: StandInKato) -> None:
    """The agent's own check after a startup job passes on a busy machine, and fails on a hang."""
    kato.switch(issues=["High CPU usage", "High memory usage"])
    registrar = Registrar([definition(kato)], settings(agent))
    try:
        registrar.register()
        assert healths(agent, "kato") == {"kato-1": "passing"}
        kato.freeze()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        registrar.deregister()
    finally:
        registrar.close()


def check_output(agent: ConsulAgent) -> str:
    """Return the output of the instance's check as the agent has it; the catalog's may be older."""
    output: str = get_json(agent, "/v1/agent/checks")["kato-probe:kato-1"]["Output"]
    return output
