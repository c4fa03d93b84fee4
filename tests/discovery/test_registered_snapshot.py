"""A snapshot of a service that must be registered: the time that its requests have."""

import pytest

from kato_consul._discovery.discovery_service import DiscoveryService
from kato_consul._flow import Send
from kato_consul.models import Snapshot
from kato_consul.settings import Settings


@pytest.mark.parametrize(("timeout", "shortest"), [(3.0, 2.0), (0.0, 1.0), (60.0, 10.0)])
def test_names_are_read_within_the_timeout(timeout: float, shortest: float) -> None:
    """The request for the names of all services has the time that is left, but at least a second,
    and not longer than any request to Consul."""
    service = DiscoveryService(Settings(service="kato"))
    service.store.publish(Snapshot("kato", (), 7))
    step = next(service.registered_snapshot(timeout))
    assert isinstance(step, Send)
    assert shortest <= step.timeout <= max(timeout, 1.0)
