"""One agent for the tests that leave it running."""

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
    """The only event loop there is an async client for."""
    return "asyncio"
