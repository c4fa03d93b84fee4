"""Clients that are dropped without being closed: they warn, and leave nothing behind."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from kato_consul import (
    AsyncDiscovery,
    AsyncDiscoveryTransport,
    AsyncKatoClient,
    AsyncRegistrar,
    AsyncSessionDirectory,
    Discovery,
    DiscoveryTransport,
    KatoClient,
    Registrar,
    ServiceDefinition,
    SessionDirectory,
    Settings,
)
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.shells.one_instance_consul import list_one_instance
from tests.shells.sockets import open_sockets
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

DEFINITIONS = [ServiceDefinition(name="kato", id="kato-1", address="127.0.0.1", port=8000)]


@pytest.fixture(params=EVENT_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The async tests run on each event loop."""
    return "asyncio", {"loop_factory": loop_factory(request.param)}


@pytest.fixture
def settings(engine: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with which each of the objects has background work to do."""
    with WireServer(list_one_instance) as consul:
        yield Settings(consul_addr=consul.origin, engine=engine, state_dir=tmp_path)


def use_client(settings: Settings) -> None:
    """Use a client, and drop it."""
    KatoClient(settings).discovery.snapshot()


def use_session(settings: Settings) -> None:
    """Use a session whose client is dropped before it."""
    session = KatoClient(settings).session("key")
    assert session.settle() is None


def use_discovery(settings: Settings) -> None:
    """Use a discovery, and drop it."""
    Discovery(settings).snapshot()


def use_registrar(settings: Settings) -> None:
    """Use a registrar, and drop it."""
    Registrar(DEFINITIONS, settings).register_when_healthy()


def use_transport(settings: Settings) -> None:
    """Use a transport, and drop it."""
    DiscoveryTransport(settings).instances("kato")


def use_session_directory(settings: Settings) -> None:
    """Use a session directory as for a release, and drop it."""
    SessionDirectory(replace(settings, session_directory="consul"))._begin()


def threads() -> set[threading.Thread]:
    """Return the threads of clients."""
    return {one for one in threading.enumerate() if one.name.startswith("kato-consul")}


@pytest.mark.parametrize(
    "use",
    [
        use_client,
        use_session,
        use_discovery,
        use_registrar,
        use_transport,
        use_session_directory,
    ],
)
def test_dropped_on_threads(settings: Settings, use: Callable[[Settings], None]) -> None:
    """It warns; its threads end and its sockets are closed."""
    gc.collect()
    sockets_before, threads_before = open_sockets(), threads()

    def use_and_collect() -> None:
        use(settings)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed .*: call 'close\(\)'"):
        use_and_collect()
    assert eventually(lambda: threads() <= threads_before, within=30.0)
    assert eventually(lambda: open_sockets() <= sockets_before, within=30.0)


def test_warning_names_the_client_and_not_a_part_of_it(settings: Settings) -> None:
    """A dropped client is named as what its user created."""

    def use_and_collect(use: Callable[[Settings], None]) -> None:
        use(settings)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed KatoClient: call 'close\(\)'"):
        use_and_collect(use_client)
    with pytest.warns(ResourceWarning, match="unclosed Discovery: "):
        use_and_collect(use_discovery)


async def use_async_client(settings: Settings) -> None:
    """Use a client, and drop it."""
    await AsyncKatoClient(settings).discovery.snapshot()


async def use_async_discovery(settings: Settings) -> None:
    """Use a discovery, and drop it."""
    await AsyncDiscovery(settings).snapshot()


async def use_async_registrar(settings: Settings) -> None:
    """Use a registrar, and drop it."""
    AsyncRegistrar(DEFINITIONS, settings).register_when_healthy()


async def use_async_transport(settings: Settings) -> None:
    """Use a transport, and drop it."""
    await AsyncDiscoveryTransport(settings).instances("kato")


async def use_async_session_directory(settings: Settings) -> None:
    """Use a session directory as for a release, and drop it."""
    AsyncSessionDirectory(replace(settings, session_directory="consul"))._begin()
    await asyncio.sleep(0)  # its tasks have begun


@pytest.mark.anyio
@pytest.mark.parametrize(
    "use",
    [
        use_async_client,
        use_async_discovery,
        use_async_registrar,
        use_async_transport,
        use_async_session_directory,
    ],
)
async def test_dropped_on_tasks(
    settings: Settings, use: Callable[[Settings], Awaitable[None]]
) -> None:
    """It warns; its tasks end and its sockets are closed."""
    gc.collect()
    sockets_before, tasks_before = open_sockets(), asyncio.all_tasks()
    loop = asyncio.get_running_loop()

    async def use_and_collect() -> None:
        await use(settings)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed .*: call 'await aclose\(\)'"):
        await use_and_collect()
    for ended in (
        lambda: asyncio.all_tasks(loop) <= tasks_before,
        lambda: open_sockets() <= sockets_before,
    ):
        assert await asyncio.to_thread(eventually, ended, within=30.0)


@pytest.mark.anyio
async def test_async_warning_names_the_client(settings: Settings) -> None:
    """A dropped async client is named as what its user created."""

    async def use_and_collect() -> None:
        await use_async_client(settings)
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"unclosed AsyncKatoClient: call 'await aclose\(\)'"):
        await use_and_collect()


def test_unused_or_closed_objects_do_not_warn(settings: Settings) -> None:
    """Nothing is left of an object that was never used, or was closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KatoClient(settings)
        AsyncKatoClient(settings)
        Registrar(DEFINITIONS, settings)
        with KatoClient(settings) as kato:
            kato.discovery.snapshot()
        with httpx.Client(transport=DiscoveryTransport(settings)):
            pass
        del kato
        gc.collect()
