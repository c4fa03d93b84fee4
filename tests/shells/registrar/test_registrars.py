"""Both registrars on a real agent with real instances: health in Consul, and what is left."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from kato_consul import (
    AsyncRegistrar,
    CheckDefinition,
    ProbeDefinition,
    Registrar,
    RegistrarEvent,
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import get_json, healths, ids
from tests.testing.waiting import eventually

QUICK = ProbeDefinition(interval="500ms", timeout="2s", slow="1s")


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
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


@pytest.mark.parametrize(
    "fault", [{"store": "down"}, {"store": "full"}, {"healthy": False}], ids=str
)
def test_check_is_critical_during_a_fault_of_the_instance(
    agent: ConsulAgent, kato: StandInKato, fault: dict[str, Any]
) -> None:
    """Consul's check is critical while the instance has a fault that its /health may not report."""
    with Registrar([definition(kato)], settings(agent)):
        assert healths(agent, "kato") == {"kato-1": "passing"}
        kato.switch(**fault)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        kato.switch(store="up", healthy=True)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
    assert ids(agent, "kato") == set()


def test_hung_slow_and_dead_instances_get_their_status(
    agent: ConsulAgent, kato: StandInKato
) -> None:
    """A hung instance is critical, a slow one is in warning, a dead one is critical."""
    with Registrar([definition(kato)], settings(agent)):
        kato.freeze()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        kato.thaw()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
        kato.switch(slow=1.3)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "warning"})
        kato.switch(slow=0.0)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
        kato.kill()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})


def raising_sink(event: RegistrarEvent, subject: str, /, **fields: Any) -> None:
    """Fail at each event."""
    raise RuntimeError(f"{event.value} was not accepted")


def test_event_sink_that_raises(
    agent: ConsulAgent, kato: StandInKato, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors are logged; the instance is registered, probed and deregistered all the same."""
    with Registrar([definition(kato)], settings(agent), on_event=raising_sink):
        assert eventually(lambda: meta(agent).get("base_processor_id") == "kato")
        kato.kill()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
    assert ids(agent, "kato") == set()
    assert "event_sink.failed lost='instance.info' instance='kato-1'" in caplog.text


@pytest.mark.anyio
async def test_event_sink_that_raises_async(agent: ConsulAgent, kato: StandInKato) -> None:
    """The same on an event loop."""
    async with AsyncRegistrar([definition(kato)], settings(agent), on_event=raising_sink):
        kato.kill()
        critical = {"kato-1": "critical"}
        assert await asyncio.to_thread(eventually, lambda: healths(agent, "kato") == critical)
    assert ids(agent, "kato") == set()


def test_command_line_api_and_dns_of_consul_list_the_instance(
    agent: ConsulAgent, kato: StandInKato
) -> None:
    """Consul's own command line, its API and its DNS return the registered instance."""
    with Registrar([definition(kato)], settings(agent), owner="me"):
        assert "kato" in agent.cli("catalog", "services").split()
        assert eventually(lambda: meta(agent).get("base_processor_id") == "kato")
        assert meta(agent)["registrar"] == "me"
        assert resolved(agent, "kato.service.consul") == ["127.0.0.1"]
        kato.switch(store="down")
        assert eventually(lambda: resolved(agent, "kato.service.consul") == [])


def resolved(agent: ConsulAgent, name: str) -> list[str]:
    """Return the addresses of a name in Consul's DNS (RFC 1035: one question, then answers)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns:
        dns.settimeout(5)
        header = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0)
        dns.sendto(header + question, ("127.0.0.1", agent.dns_port))
        message = dns.recv(4096)
    (count,) = struct.unpack(">H", message[6:8])
    rest = message[12 + len(question) :]
    # Each answer: a pointer to the name, type, class, TTL and length, then the address.
    return [socket.inet_ntoa(rest[16 * n + 12 : 16 * n + 16]) for n in range(count)]


def meta(agent: ConsulAgent) -> dict[str, str]:
    """Return the metadata that the agent has for the instance."""
    metadata: dict[str, str] = get_json(agent, "/v1/agent/service/kato-1")["Meta"]
    return metadata


def test_instance_is_registered_again_after_an_agent_restart(kato: StandInKato) -> None:
    """An agent that restarts without its data has the instance again, passing.

    It takes at most 2 s from the agent's return, as measured by `tests/faults/registrar_times.py`.
    """
    with ConsulAgent() as agent, Registrar([definition(kato)], settings(agent)):
        agent.restart()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})


def test_exit_leaves_no_thread(agent: ConsulAgent, kato: StandInKato) -> None:
    """After the context manager's exit, no thread of the registrar is left."""
    before = threading.active_count()
    with Registrar([definition(kato)], settings(agent)):
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.anyio
async def test_async_registrar_registers_reports_and_leaves_no_task(
    agent: ConsulAgent, kato: StandInKato
) -> None:
    """An async registrar keeps health up to date, deregisters on exit and leaves no task."""
    before = asyncio.all_tasks()
    async with AsyncRegistrar([definition(kato)], settings(agent)) as registrar:
        assert healths(agent, "kato") == {"kato-1": "passing"}
        await asyncio.to_thread(kato.switch, store="down")
        down = {"kato-1": "critical"}
        assert await asyncio.to_thread(eventually, lambda: healths(agent, "kato") == down)
        assert await registrar.drain(5.0)
        await registrar.resume()
    assert ids(agent, "kato") == set()
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_lifespan_registers_the_application(agent: ConsulAgent, kato: StandInKato) -> None:
    """An ASGI application is registered during its lifespan, and not after it."""
    orders = ServiceDefinition(
        name="orders", port=kato.port, address=kato.host, check=CheckDefinition(interval="200ms")
    )
    app = FastAPI(lifespan=AsyncRegistrar([orders], settings(agent)).lifespan)
    async with app.router.lifespan_context(app):
        assert ids(agent, "orders") == {f"orders-{kato.port}"}
    assert ids(agent, "orders") == set()
