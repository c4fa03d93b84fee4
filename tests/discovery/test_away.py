"""Consul away, from the start or in the middle: what is gone by, and what is said of it."""

import asyncio
import threading
from pathlib import Path

import pytest

from kato_consul import AsyncDiscovery, ConsulUnreachable, Discovery, Settings, Source
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.discovery.agents import at, put, sees, take_out
from tests.testing.waiting import eventually


def nowhere() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_away_and_back() -> None:
    """The last good snapshot stays while the agent is away, and gets old; at its return it is seen
    again, with what it has by then."""
    with ConsulAgent() as agent:
        put(agent, "kato", 1)
        with Discovery(at(agent)) as discovery:
            assert sees(discovery, "kato-1")
            agent.kill()
            assert eventually(lambda: discovery.last_error is not None)
            assert sees(discovery, "kato-1")
            old = discovery.age
            assert old is not None
            assert eventually(lambda: (discovery.age or 0.0) >= old + 0.1)
            agent.start()
            put(agent, "kato", 2)
            assert sees(discovery, "kato-2")
            assert discovery.last_error is None


def test_nobody_is_told_since_when(agent: ConsulAgent) -> None:
    """When the last instance is gone it is known since when."""
    put(agent, "lonely", 1)
    with Discovery(at(agent, service="lonely")) as discovery:
        assert sees(discovery, "lonely-1")
        assert discovery.empty_since is None
        take_out(agent, "lonely", 1)
        assert sees(discovery)
        assert discovery.empty_since is not None


@pytest.mark.anyio
async def test_copy_is_kept(agent: ConsulAgent, tmp_path: Path) -> None:
    """What one run saw, sync or async, the next one starts with when Consul is away."""
    put(agent, "copied", 1, Meta={"zone": "eu-1"})
    known = {"service": "copied", "state_dir": tmp_path}
    async with AsyncDiscovery(at(agent, **known)) as discovery:
        seen = await discovery.snapshot()
        assert await asyncio.to_thread(eventually, lambda: bool(list(tmp_path.glob("copied-*"))))
    with Discovery(Settings(consul_addr=nowhere(), **known)) as offline:  # type: ignore[arg-type]
        found = offline.snapshot()
        assert (found, found.source) == (seen, Source.DISK)
        assert found.instances[0].zone == "eu-1"
        assert offline.age is not None
        assert isinstance(offline.last_error, ConsulUnreachable)


@pytest.mark.anyio
async def test_nothing_is_left(agent: ConsulAgent, tmp_path: Path) -> None:
    """Closed, a discovery that keeps a copy leaves no thread and no task."""
    settings = at(agent, state_dir=tmp_path)
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    with Discovery(settings) as discovery:
        discovery.snapshot()
        assert set(threading.enumerate()) > threads
    assert set(threading.enumerate()) == threads
    async with AsyncDiscovery(settings) as another:
        await another.snapshot()
        assert asyncio.all_tasks() > tasks
    assert asyncio.all_tasks() == tasks


def test_copy_follows(agent: ConsulAgent, tmp_path: Path) -> None:
    """The copy follows the changes, and Consul's answer takes its place."""
    put(agent, "followed", 1)
    settings = at(agent, service="followed", state_dir=tmp_path)
    with Discovery(settings) as discovery:
        assert sees(discovery, "followed-1")
        put(agent, "followed", 2)
        assert sees(discovery, "followed-1", "followed-2")
        (copy,) = tmp_path.glob("followed-*")
        assert eventually(lambda: b"followed-2" in copy.read_bytes())
        take_out(agent, "followed", 1)
        take_out(agent, "followed", 2)
        assert sees(discovery)
    assert b"followed-2" in copy.read_bytes()  # nobody at all is nothing to start with
    with Discovery(settings) as discovery:
        assert discovery.snapshot().instances == ()


def test_hung_at_the_start(tmp_path: Path) -> None:
    """An agent that takes the question and says nothing is not waited for when there is a copy;
    when it answers, its word counts."""
    with ConsulAgent() as agent:
        put(agent, "kato", 1)
        settings = at(agent, state_dir=tmp_path)
        with Discovery(settings) as discovery:
            discovery.snapshot()
            assert eventually(lambda: bool(list(tmp_path.iterdir())))
        agent.freeze()
        with Discovery(settings) as discovery:
            assert discovery.snapshot().source is Source.DISK
            agent.thaw()
            assert eventually(
                lambda: discovery.current is not None and discovery.current.source is Source.CONSUL
            )


def test_list_until_consul_answers() -> None:
    """A given list is used while Consul is away, and while it has nobody; then Consul's word."""
    with ConsulAgent() as agent:
        settings = at(agent, kato_urls=("http://127.0.0.1:8000",))
        agent.kill()
        with Discovery(settings) as discovery:
            assert discovery.snapshot().source is Source.STATIC
            assert discovery.age is None
            agent.start()
            assert eventually(lambda: discovery.last_error is None)
            assert sees(discovery, "127.0.0.1:8000")
            put(agent, "kato", 1)
            assert sees(discovery, "kato-1")


def test_list_alone() -> None:
    """Who gives a list and no Consul gets the list at once, and nobody asks for more."""
    with Discovery(Settings(kato_urls=("http://kato:8000",))) as discovery:
        assert list(discovery._service.watches()) == []
        assert [one.origin for one in discovery.snapshot(0.0).usable] == ["http://kato:8000"]
