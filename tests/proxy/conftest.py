"""Fixtures: a fleet for each module, and proxies in front of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kato_consul import Settings
from kato_consul.testing import Fleet
from tests.proxy.served import ServedProxy


@pytest.fixture(scope="module")
def running_fleet() -> Iterator[Fleet]:
    """An agent and two instances, registered."""
    with Fleet(2, registered=True) as fleet:
        yield fleet


@pytest.fixture
def fleet(running_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet, without faults and without sessions."""
    yield running_fleet
    running_fleet.reset()


@pytest.fixture(scope="module")
def settings(running_fleet: Fleet) -> Settings:
    """The settings of a proxy: sessions are shared through Consul, and no test waits for long."""
    return replace(
        running_fleet.settings, session_directory="consul", deadline=10.0, attempt_timeout=2.0
    )


@pytest.fixture(scope="module")
def proxy(settings: Settings) -> Iterator[ServedProxy]:
    """A proxy."""
    with ServedProxy(settings) as served:
        yield served


@pytest.fixture(scope="module")
def other(settings: Settings) -> Iterator[ServedProxy]:
    """Another proxy of the same session directory."""
    with ServedProxy(settings) as served:
        yield served
