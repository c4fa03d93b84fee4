"""Hedged requests on real sockets: the first complete response ends both."""

import socket
import threading

import pytest

from kato_consul._flow import Failure, Flow, Hedge, Hedged, Reply, Send
from tests.shells import wire_server
from tests.shells.conftest import BlockingDriver
from tests.shells.wire_server import Handler, WireServer
from tests.testing.waiting import eventually

AFTER = 0.5


def hedged(first: str, second: str, *, after: float = AFTER, timeout: float = 10.0) -> Flow[Hedged]:
    """Flow: send one request, hedged, and return both outcomes."""
    sends = [Send(origin, "GET", "/", timeout) for origin in (first, second)]
    outcomes: Hedged = yield Hedge(sends[0], sends[1], after)
    return outcomes


def test_first_responds_in_time_second_is_not_sent(driver: BlockingDriver) -> None:
    """If the first instance responds in time, the second gets no request."""
    with WireServer(wire_server.respond_ok) as first, WireServer(wire_server.respond_ok) as second:
        found = driver.run(hedged(first.origin, second.origin, after=5.0))
        assert isinstance(found.first, Reply)
        assert (found.second, found.both_sent) == (None, False)
        assert second.connections == 0


@pytest.mark.parametrize("handler", [wire_server.never_respond, wire_server.trickle_forever])
def test_second_responds_first_request_is_abandoned(
    driver: BlockingDriver, handler: Handler
) -> None:
    """If only the second instance responds, its response is used and the first is abandoned."""
    with WireServer(handler) as first, WireServer(wire_server.respond_ok) as second:
        found = driver.run(hedged(first.origin, second.origin))
        assert found.first is None
        assert isinstance(found.second, Reply)
        assert found.both_sent
        assert eventually(lambda: len(first.requests) == 1)


def test_second_fails_first_is_awaited(driver: BlockingDriver) -> None:
    """If the second request fails, the response to the first is awaited."""
    second_failed = threading.Event()

    def respond_late(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        second_failed.wait(10.0)
        connection.sendall(wire_server.OK)

    def fail(server: WireServer, connection: socket.socket) -> None:
        wire_server.close_without_response(server, connection)
        second_failed.set()

    with WireServer(respond_late) as first, WireServer(fail) as second:
        found = driver.run(hedged(first.origin, second.origin, timeout=10.0))
        assert len(second.requests) == 1
    assert isinstance(found.first, Reply)
    assert not isinstance(found.second, Reply)


def test_both_fail_both_failures_are_returned(driver: BlockingDriver) -> None:
    """If both requests fail, both failures are returned."""
    with (
        WireServer(wire_server.never_respond) as first,
        WireServer(wire_server.never_respond) as second,
    ):
        found = driver.run(hedged(first.origin, second.origin, timeout=1.5))
    assert isinstance(found.first, Failure)
    assert isinstance(found.second, Failure)
