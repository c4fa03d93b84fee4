"""Both shells behind one face, on each engine, so that each test runs on all of them."""

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from kato_consul._async.driver import AsyncDriver
from kato_consul._flow import Flow
from kato_consul._sync.driver import Driver
from kato_consul.settings import ENGINES, Settings

KEEPALIVE = 1.0


class Shell(Protocol):
    """A driver, whichever."""

    def run(self, flow: Flow[Any]) -> Any:
        """Run a flow to its end."""

    def close(self) -> None:
        """Close the driver."""


class AsyncShell:
    """The async driver on an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
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
    """Each engine."""
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def shell(request: pytest.FixtureRequest, engine: str) -> Iterator[Shell]:
    """A driver of each kind, on each engine."""
    settings = Settings(connect_timeout=1.0, engine=engine, keepalive=KEEPALIVE)
    made: Shell = Driver(settings) if request.param == "sync" else AsyncShell(settings)
    yield made
    made.close()


@pytest.fixture
def anyio_backend() -> str:
    """Our drivers are for asyncio."""
    return "asyncio"
