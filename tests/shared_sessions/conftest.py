"""Fixtures: the processes of a module, and a service of its own for each test."""

from collections.abc import Iterator

import pytest

from tests.shared_sessions.clients import SHELLS, Shell
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


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell."""
    shell: Shell = request.param
    return shell


@pytest.fixture
def site(deployment: Deployment, kind: Kind) -> Iterator[Site]:
    """A service on the module's processes."""
    running = Site(deployment, kind)
    yield running
    running.close()
