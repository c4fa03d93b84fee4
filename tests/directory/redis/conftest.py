"""Fixtures: a Redis server for each module, a service and owners for each test."""

import uuid
from collections.abc import Callable, Iterator

import pytest

from kato_consul.testing.redis import RedisServer
from tests.directory.redis.owners import SHELLS, Owner, mark_settled

NewOwner = Callable[..., Owner]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server for the tests of a module that leave it as it is."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def service(server: RedisServer) -> str:
    """A service whose directory was used before."""
    name = f"kato-{uuid.uuid4().hex[:8]}"
    mark_settled(server, name)
    return name


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell."""
    return str(request.param)


@pytest.fixture
def new_owner(server: RedisServer, service: str, shell: str) -> Iterator[NewOwner]:
    """Create owners, and close them at the end. By default they are of the module's server."""
    created: list[Owner] = []

    def create(url: str = "", label: str = "host:1") -> Owner:
        owner = Owner(url or server.url, service, shell, label)
        created.append(owner)
        return owner

    yield create
    for owner in created:
        owner.close()
