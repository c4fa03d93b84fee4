"""Fixtures that run each test on both shells and on each engine."""

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Flow
from kato_consul._sync.driver import Driver
from kato_consul.settings import ENGINES, Settings
from tests.event_loops import EVENT_LOOPS, loop_factory

KEEPALIVE = 0.3
"""Seconds, in tests of the keep-alive; in the others no connection is idle for too long."""


class BlockingDriver(Protocol):
    """A sync or async driver, used by blocking calls."""

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow to its end."""

    def close(self) -> None:
        """Close the driver."""


class BlockingAsyncDriver:
    """An async driver on an event loop of its own."""

    def __init__(self, settings: Settings, event_loop: str = "asyncio") -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory(event_loop))
        self._driver = AsyncDriver(settings)

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow to its end."""
        return self._runner.run(self._driver.run(flow))

    def close(self) -> None:
        """Close the driver and its loop."""
        self._runner.run(self._driver.aclose())
        self._runner.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine; each test runs with every engine."""
    return str(request.param)


@pytest.fixture
def keepalive() -> float:
    """Seconds that a connection may be idle; a test may override it."""
    return 60.0


@pytest.fixture(params=["sync", *EVENT_LOOPS])
def driver(
    request: pytest.FixtureRequest, engine: str, keepalive: float
) -> Iterator[BlockingDriver]:
    """A driver of each kind, with each engine."""
    # Longer than an event loop stands still on a busy machine.
    settings = Settings(connect_timeout=5.0, engine=engine, keepalive=keepalive)
    blocking: BlockingDriver = (
        Driver(settings)
        if request.param == "sync"
        else BlockingAsyncDriver(settings, request.param)
    )
    yield blocking
    blocking.close()


@pytest.fixture
def anyio_backend() -> str:
    """The async driver supports asyncio only."""
    return "asyncio"
