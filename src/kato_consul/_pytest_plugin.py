"""pytest plugin: the fixtures ``kato_fleet`` and ``kato_client``.

pytest imports this module at its start, in each project that has kato-consul installed. So it
imports nothing but pytest; the test tools, which need the extra ``testing``, come with the first
test that uses a fixture.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kato_consul import KatoClient
    from kato_consul.testing import Fleet

FLEET_SIZE = 3


@pytest.fixture(scope="session")
def _kato_fleet_of_session() -> "Iterator[Fleet]":
    """Start a fleet once for all tests of a process: that takes some seconds."""
    try:
        from kato_consul.testing import Fleet
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"the fixtures of kato-consul need its test tools ({error}): "
            f"pip install 'kato-consul[testing]'"
        ) from None
    with Fleet(FLEET_SIZE, registered=True) as fleet:
        yield fleet


@pytest.fixture
def kato_fleet(_kato_fleet_of_session: "Fleet") -> "Iterator[Fleet]":
    """A real Consul agent with three stand-in instances of KATO, registered and passing.

    The instances are ``kato_fleet.instances["kato-1"]`` to ``"kato-3"``: kill them, freeze them,
    or switch their store. The agent is ``kato_fleet.agent``: kill or freeze it. After each test
    all of them are repaired, and all sessions and patterns are deleted. A client or service under
    test uses ``kato_fleet.settings``, or the variables ``kato_fleet.environment``.
    """
    yield _kato_fleet_of_session
    _kato_fleet_of_session.reset()


@pytest.fixture
def kato_client(kato_fleet: "Fleet") -> "Iterator[KatoClient]":
    """A client of ``kato_fleet``, closed after the test."""
    from kato_consul import KatoClient

    with KatoClient(kato_fleet.settings) as client:
        yield client
