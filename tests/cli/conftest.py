"""Fixtures of the command-line tests: one agent for all; each test has its own service name."""

from collections.abc import Iterator

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import HealthServer, fresh_name


@pytest.fixture(scope="session")
def agent() -> Iterator[ConsulAgent]:
    """A real Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def young_agent() -> Iterator[ConsulAgent]:
    """An agent that has just started. Once a minute, Consul removes dead nodes from its catalog
    that were never members of the cluster."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def service() -> str:
    """A service name that is not registered yet."""
    return fresh_name()


@pytest.fixture
def instance() -> Iterator[HealthServer]:
    """A healthy instance."""
    with HealthServer() as running:
        yield running


@pytest.fixture
def unhealthy() -> Iterator[HealthServer]:
    """An instance that is not healthy."""
    with HealthServer(healthy=False) as running:
        yield running
