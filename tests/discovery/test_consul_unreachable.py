"""Consul unreachable, from the start or later: which snapshot is used, and which error is set."""

import asyncio
import threading
from pathlib import Path

import pytest

from kato_consul import AsyncDiscovery, ConsulUnreachable, Discovery, Settings, Source
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.discovery.agents import deregister, discovers, register, settings_for
from tests.testing.waiting import eventually


def unused_address() -> str:
    """Return an address at which no server listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_last_good_snapshot_is_used_until_consul_returns() -> None:
    """The last good snapshot stays while the agent is down, and its age grows. After the agent's
    return its new snapshot is used."""
    with ConsulAgent() as agent:
        register(agent, "kato", 1)
        with Discovery(settings_for(agent)) as discovery:
            assert discovers(discovery, "kato-1")
            agent.kill()
            assert eventually(lambda: discovery.last_error is not None)
            assert discovers(discovery, "kato-1")
            old = discovery.age
            assert old is not None
            assert eventually(lambda: (discovery.age or 0.0) >= old + 0.1)
            agent.start()
            register(agent, "kato", 2)
            assert discovers(discovery, "kato-2")
            assert discovery.last_error is None


def test_empty_since_is_set_when_the_last_instance_is_deregistered(agent: ConsulAgent) -> None:
    """Without an instance ``empty_since`` is set."""
    register(agent, "lonely", 1)
    with Discovery(settings_for(agent, service="lonely")) as discovery:
        assert discovers(discovery, "lonely-1")
        assert discovery.empty_since is None
        deregister(agent, "lonely", 1)
        assert discovers(discovery)
        assert discovery.empty_since is not None


@pytest.mark.anyio
async def test_saved_snapshot_is_used_by_the_next_process(
    agent: ConsulAgent, tmp_path: Path
) -> None:
    """Without Consul, a discovery starts with the snapshot that an earlier one saved."""
    register(agent, "copied", 1, Meta={"zone": "eu-1"})
    known = {"service": "copied", "state_dir": tmp_path}
    async with AsyncDiscovery(settings_for(agent, **known)) as discovery:
        seen = await discovery.snapshot()
        assert await asyncio.to_thread(eventually, lambda: bool(list(tmp_path.glob("copied-*"))))
    with Discovery(Settings(consul_addr=unused_address(), **known)) as offline:  # type: ignore[arg-type]
        found = offline.snapshot()
        assert (found, found.source) == (seen, Source.DISK)
        assert found.instances[0].zone == "eu-1"
        assert offline.age is not None
        assert isinstance(offline.last_error, ConsulUnreachable)


@pytest.mark.anyio
async def test_closed_discovery_leaves_no_thread_and_no_task(
    agent: ConsulAgent, tmp_path: Path
) -> None:
    """A closed discovery that saves snapshots has no running thread or task."""
    settings = settings_for(agent, state_dir=tmp_path)
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    with Discovery(settings) as discovery:
        discovery.snapshot()
        assert set(threading.enumerate()) > threads
    assert set(threading.enumerate()) == threads
    async with AsyncDiscovery(settings) as another:
        await another.snapshot()
        assert asyncio.all_tasks() > tasks
    assert asyncio.all_tasks() == tasks


def test_saved_snapshot_follows_the_changes(agent: ConsulAgent, tmp_path: Path) -> None:
    """The saved snapshot follows the changes, and Consul's response replaces it."""
    register(agent, "followed", 1)
    settings = settings_for(agent, service="followed", state_dir=tmp_path)
    with Discovery(settings) as discovery:
        assert discovers(discovery, "followed-1")
        register(agent, "followed", 2)
        assert discovers(discovery, "followed-1", "followed-2")
        (saved,) = tmp_path.glob("followed-*")
        assert eventually(lambda: b"followed-2" in saved.read_bytes())
        deregister(agent, "followed", 1)
        deregister(agent, "followed", 2)
        assert discovers(discovery)
    assert b"followed-2" in saved.read_bytes()  # an empty snapshot is not saved
    with Discovery(settings) as discovery:
        assert discovery.snapshot().instances == ()


def test_saved_snapshot_is_used_while_consul_hangs(tmp_path: Path) -> None:
    """With a saved snapshot, discovery does not wait for an agent that accepts the query and does
    not respond. When it responds, its snapshot is used."""
    with ConsulAgent() as agent:
        register(agent, "kato", 1)
        settings = settings_for(agent, state_dir=tmp_path)
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


def test_static_list_is_used_until_consul_has_an_instance() -> None:
    """A static list is used while Consul is unreachable or has no instance; then Consul is used."""
    with ConsulAgent() as agent:
        settings = settings_for(agent, kato_urls=("http://127.0.0.1:8000",))
        agent.kill()
        with Discovery(settings) as discovery:
            assert discovery.snapshot().source is Source.STATIC
            assert discovery.age is None
            agent.start()
            assert eventually(lambda: discovery.last_error is None)
            assert discovers(discovery, "127.0.0.1:8000")
            register(agent, "kato", 1)
            assert discovers(discovery, "kato-1")


def test_static_list_without_consul_starts_no_watch() -> None:
    """With a static list and no Consul the list is published at once, and nothing is watched."""
    with Discovery(Settings(kato_urls=("http://kato:8000",))) as discovery:
        assert list(discovery._service.watches()) == []
        assert [one.origin for one in discovery.snapshot(0.0).usable] == ["http://kato:8000"]
