"""Fixtures: one agent, for tests that do not stop it, and clients of its directory."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kato_consul.testing import ConsulAgent
from tests.directory.clients import DirectoryClient

NewClient = Callable[..., DirectoryClient]


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real Consul agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def service() -> str:
    """The name of a new service."""
    return f"kato-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def new_client(agent: ConsulAgent, service: str) -> Iterator[NewClient]:
    """Start further clients of one service; all are closed at the end."""
    with ExitStack() as clients:

        def start(address: str = "", **settings: Any) -> DirectoryClient:
            client = DirectoryClient(address or agent.http_addr, service, **settings)
            return clients.enter_context(client)

        yield start
