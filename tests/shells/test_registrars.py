"""Both registrars on a real agent and real instances: what others see, and what is left."""

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
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent, StandInKato
from tests.cli.running import ask, healths, ids
from tests.testing.waiting import eventually

QUICK = ProbeDefinition(interval="200ms", timeout="2s", slow="400ms")


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """A real instance."""
    with StandInKato(store=tmp_path / "store.sqlite") as made:
        yield made


def definition(kato: StandInKato) -> ServiceDefinition:
    """What is to stand in Consul."""
    return ServiceDefinition(
        name="kato", id="kato-1", address=kato.host, port=kato.port, probe=QUICK
    )


def settings(agent: ConsulAgent) -> Settings:
    """For this agent."""
    return Settings(consul_addr=agent.http_addr)


@pytest.mark.parametrize(
    "trouble", [{"store": "down"}, {"store": "full"}, {"healthy": False}], ids=str
)
def test_the_truth(agent: ConsulAgent, kato: StandInKato, trouble: dict[str, Any]) -> None:
    """Consul's check follows what is wrong with an instance, and its mending; /health does not."""
    with Registrar([definition(kato)], settings(agent)):
        assert healths(agent, "kato") == {"kato-1": "passing"}
        kato.switch(**trouble)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        kato.switch(store="up", healthy=True)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
    assert ids(agent, "kato") == set()


def test_hung_slow_and_dead(agent: ConsulAgent, kato: StandInKato) -> None:
    """A hung instance is critical, a slow one a warning, a dead one critical."""
    with Registrar([definition(kato)], settings(agent)):
        kato.freeze()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})
        kato.thaw()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
        kato.switch(slow=0.6)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "warning"})
        kato.switch(slow=0.0)
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
        kato.kill()
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "critical"})


def test_as_others_see_it(agent: ConsulAgent, kato: StandInKato) -> None:
    """Consul's own command line, its API and its DNS show what was registered."""
    with Registrar([definition(kato)], settings(agent), owner="me"):
        assert "kato" in agent.cli("catalog", "services").split()
        assert eventually(lambda: meta(agent).get("base_processor_id") == "kato")
        assert meta(agent)["registrar"] == "me"
        assert resolved(agent, "kato.service.consul") == ["127.0.0.1"]
        kato.switch(store="down")
        assert eventually(lambda: resolved(agent, "kato.service.consul") == [])


def resolved(agent: ConsulAgent, name: str) -> list[str]:
    """The addresses that Consul's DNS gives for a name (RFC 1035: one question, answers behind)."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        header = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0)
        asking.sendto(header + question, ("127.0.0.1", agent.dns_port))
        answer = asking.recv(4096)
    (count,) = struct.unpack(">H", answer[6:8])
    rest = answer[12 + len(question) :]
    # Each answer: a pointer to the name, type, class, TTL and length, then the address.
    return [socket.inet_ntoa(rest[16 * n + 12 : 16 * n + 16]) for n in range(count)]


def meta(agent: ConsulAgent) -> dict[str, str]:
    """The metadata that the agent has."""
    found: dict[str, str] = ask(agent, "/v1/agent/service/kato-1")["Meta"]
    return found


def test_an_agent_that_restarts(kato: StandInKato) -> None:
    """An agent that was restarted and has forgotten everything has it back, passing, within 2 s of
    its return (measured in `tests/faults/registrar_times.py`)."""
    with ConsulAgent() as own, Registrar([definition(kato)], settings(own)):
        own.restart()
        assert eventually(lambda: healths(own, "kato") == {"kato-1": "passing"})


def test_nothing_is_left_running(agent: ConsulAgent, kato: StandInKato) -> None:
    """After the block there is no thread of ours."""
    before = threading.active_count()
    with Registrar([definition(kato)], settings(agent)):
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.anyio
async def test_asyncio(agent: ConsulAgent, kato: StandInKato) -> None:
    """The same on asyncio: registered and true inside the block, gone after it, no task left."""
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
async def test_lifespan(agent: ConsulAgent, kato: StandInKato) -> None:
    """An ASGI application is registered while it lives."""
    me = ServiceDefinition(
        name="orders", port=kato.port, address=kato.host, check=CheckDefinition(interval="200ms")
    )
    app = FastAPI(lifespan=AsyncRegistrar([me], settings(agent)).lifespan)
    async with app.router.lifespan_context(app):
        assert ids(agent, "orders") == {f"orders-{kato.port}"}
    assert ids(agent, "orders") == set()
