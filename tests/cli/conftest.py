"""One agent for all tests of the command line: each test has a service name of its own."""

from collections.abc import Iterator

import pytest

from kato_consul.testing import ConsulAgent
from tests.cli.running import Instance, fresh_name


@pytest.fixture(scope="session")
def agent() -> Iterator[ConsulAgent]:
    """A real Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def service() -> str:
    """A name that nobody registered before."""
    return fresh_name()


@pytest.fixture
def instance() -> Iterator[Instance]:
    """An instance that is well."""
    with Instance() as running:
        yield running


@pytest.fixture
def ill() -> Iterator[Instance]:
    """An instance that is not."""
    with Instance(healthy=False) as running:
        yield running
