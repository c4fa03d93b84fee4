"""Fixtures: the processes of a module, and a service of its own for each test."""

from collections.abc import Iterator

import pytest

from tests.shared_sessions.clients import Shell
from tests.shared_sessions.site import KINDS, Deployment, Kind, Site, deployed


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Two KATO instances, a Consul agent and a Redis server."""
    with deployed() as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of directory."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def shell(kind: Kind) -> Shell:
    """The shell of the first client; the second one has the other. So each test has both, and each
    directory both, in some tests as the owner and in others as the one that waits."""
    return "sync" if kind == "consul" else "async"


@pytest.fixture
def site(deployment: Deployment, kind: Kind) -> Iterator[Site]:
    """A service on the module's processes."""
    running = Site(deployment, kind)
    yield running
    running.close()
