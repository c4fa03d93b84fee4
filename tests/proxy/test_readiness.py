"""Health and readiness."""

import time

import pytest

from kato_consul.proxy.readiness import FRESH
from kato_consul.testing import Fleet
from tests.proxy.served import Response, ServedProxy


def wait_for(proxy: ServedProxy, status: int) -> Response:
    """Return the first response of ``/ready`` with this status."""
    deadline = time.monotonic() + 20
    while (response := proxy.call("GET", "/ready")).status != status:
        assert time.monotonic() < deadline, response
        time.sleep(0.1)
    return response


def test_ready(proxy: ServedProxy) -> None:
    """Ready, and healthy in KATO's words."""
    assert wait_for(proxy, 200).json == {"status": "ready"}
    health = proxy.call("GET", "/health")
    assert health.status == 200
    assert health.json["status"] == "healthy"
    assert health.json["service_name"] == "kato"


@pytest.mark.parametrize("hung", ["kato-1", "kato-2"])
def test_hung_instance(proxy: ServedProxy, fleet: Fleet, hung: str) -> None:
    """A call is served by the other one. All proxies ask the same instance first: otherwise all of
    them would leave their gateway for it."""
    wait_for(proxy, 200)
    fleet.instances[hung].freeze()
    time.sleep(FRESH)
    assert proxy.call("GET", "/ready").status == 200


def test_store_down(proxy: ServedProxy, fleet: Fleet) -> None:
    """KATO calls itself healthy while its store is down; a session call would not be served."""
    for instance in fleet.instances.values():
        instance.switch(store="down")
    refused = wait_for(proxy, 503)
    assert int(refused.headers["retry-after"]) > 0
    assert proxy.call("GET", "/health").json["status"] == "healthy"
    for instance in fleet.instances.values():
        instance.switch(store="up")
    wait_for(proxy, 200)


def test_no_instance(proxy: ServedProxy, fleet: Fleet) -> None:
    """Without an instance the proxy lives, and is not ready."""
    for instance in fleet.instances.values():
        instance.kill()
    wait_for(proxy, 503)
    health = proxy.call("GET", "/health")
    assert health.status == 200
    assert health.json["status"] == "unhealthy"
    assert health.json["issues"]


def test_directory_away(proxy: ServedProxy, fleet: Fleet) -> None:
    """Without its session directory a proxy serves no session that it does not own."""
    wait_for(proxy, 200)
    fleet.agent.kill()
    assert wait_for(proxy, 503).json["title"] == "SessionDirectoryUnavailable"
