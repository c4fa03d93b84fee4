"""Fixtures: one agent, for tests that do not stop it."""

from collections.abc import Iterator

import pytest

from kato_consul.testing import ConsulAgent


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def anyio_backend() -> str:
    """The async client needs asyncio."""
    return "asyncio"
