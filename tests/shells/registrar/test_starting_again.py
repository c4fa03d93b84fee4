"""One registrar object that is started again, or used in a forked child."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from kato_consul import (
    AsyncRegistrar,
    CheckDefinition,
    Registrar,
    ServiceDefinition,
    Settings,
)
from kato_consul.testing import ConsulAgent
from tests.cli.running import HTTP, HealthServer, ids
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def server() -> Iterator[HealthServer]:
    """A healthy instance."""
    with HealthServer() as running:
        yield running


def orders(server: HealthServer) -> ServiceDefinition:
    """Return the definition of the instance."""
    check = CheckDefinition(http=f"http://127.0.0.1:{server.port}/health", interval="200ms")
    return ServiceDefinition(
        name="orders", id="orders-1", address="127.0.0.1", port=server.port, check=check
    )


def lose(agent: ConsulAgent) -> None:
    """Let the agent lose the instance."""
    HTTP.put(f"{agent.url}/v1/agent/service/deregister/orders-1").raise_for_status()


def test_started_again(agent: ConsulAgent, server: HealthServer) -> None:
    """Started, deregistered and started again, it manages the instance as at first; started
    while it runs, it still has one lock, and deregisters the instance at the end."""
    registrar = Registrar([orders(server)], Settings(consul_addr=agent.http_addr))
    registrar.start()
    registrar.deregister()
    assert ids(agent, "orders") == set()
    registrar.start()
    registrar.start()
    lose(agent)
    assert eventually(lambda: ids(agent, "orders") == {"orders-1"})
    registrar.deregister()
    assert ids(agent, "orders") == set()
    registrar.close()


@pytest.mark.anyio
async def test_started_again_async(agent: ConsulAgent, server: HealthServer) -> None:
    """The same on an event loop."""
    registrar = AsyncRegistrar([orders(server)], Settings(consul_addr=agent.http_addr))
    await registrar.start()
    await registrar.deregister()
    await registrar.start()
    lose(agent)
    there = {"orders-1"}
    assert await asyncio.to_thread(eventually, lambda: ids(agent, "orders") == there)
    await registrar.deregister()
    assert ids(agent, "orders") == set()
    await registrar.aclose()


@pytest.mark.anyio
async def test_lifespan_is_entered_again(agent: ConsulAgent, server: HealthServer) -> None:
    """Tests of an application start it once for each test."""
    registrar = AsyncRegistrar([orders(server)], Settings(consul_addr=agent.http_addr))
    app = FastAPI(lifespan=registrar.lifespan)
    for _ in range(2):
        async with app.router.lifespan_context(app):
            assert ids(agent, "orders") == {"orders-1"}
        assert ids(agent, "orders") == set()


CHILD_OF_REGISTRAR = """
import json, os, sys
from kato_consul import CheckDefinition, Registrar, ServiceDefinition

port, ending = int(sys.argv[1]), sys.argv[2]
check = CheckDefinition(http=f"http://127.0.0.1:{port}/health", interval="200ms")
one = ServiceDefinition(name="orders", id="orders-1", address="127.0.0.1", port=port, check=check)
events = []
registrar = Registrar([one], on_event=lambda event, subject, **fields: events.append(event))
parent = os.getpid()
try:
    with registrar:
        child = os.fork()
        if child == 0 and ending == "exit":
            sys.exit(0)
        if child == 0 and ending == "deregister":
            registrar.deregister()
            os._exit(0)
        if child:
            os.waitpid(child, 0)
            there = [one.id for one in registrar.registered()]
finally:
    if os.getpid() == parent:
        print(json.dumps({"there": there, "events": events}))
"""


@pytest.mark.parametrize("ending", ["leave", "exit", "deregister"])
def test_forked_child_does_not_deregister(
    agent: ConsulAgent, server: HealthServer, ending: str
) -> None:
    """A child that leaves the block, exits in it, or calls `deregister` leaves the instance to its
    parent, which deregisters it."""
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            CHILD_OF_REGISTRAR,
            str(server.port),
            ending,
        ],
        env={**os.environ, "CONSUL_HTTP_ADDR": agent.http_addr},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result = json.loads(ran.stdout)
    assert result["there"] == ["orders-1"]
    assert result["events"][-1] == "instance.deregistered"
    assert ids(agent, "orders") == set()


CHILD_THAT_STARTS = """
import os, sys
from kato_consul import CheckDefinition, Registrar, ServiceDefinition

port = int(sys.argv[1])
check = CheckDefinition(http=f"http://127.0.0.1:{port}/health", interval="200ms")
one = ServiceDefinition(name="orders", id="orders-1", address="127.0.0.1", port=port, check=check)
registrar = Registrar([one])
with registrar:
    child = os.fork()
    if child == 0:  # a worker of its own, which outlives the registrar of its parent
        registrar.start()
        sys.stdin.readline()
if child:
    print("the parent's block has ended", flush=True)
    os.waitpid(child, 0)
"""


def test_forked_child_that_starts_it_manages_the_instance(
    agent: ConsulAgent, server: HealthServer
) -> None:
    """Started in a child, it is a registrar of its own: the last one to end deregisters."""
    argv = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILD_THAT_STARTS]
    with subprocess.Popen(
        [*argv, str(server.port)],
        env={**os.environ, "CONSUL_HTTP_ADDR": agent.http_addr},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith("the parent's block")
        assert eventually(lambda: ids(agent, "orders") == {"orders-1"})
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(60) == 0
    assert ids(agent, "orders") == set()
