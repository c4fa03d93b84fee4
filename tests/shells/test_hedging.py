"""Hedged requests on real sockets: the first whole answer ends both."""

import socket
import threading

import pytest

from kato_consul._flow import Failure, Flow, Hedge, Hedged, Reply, Send
from tests.shells import wire_server
from tests.shells.conftest import Shell
from tests.shells.wire_server import Act, WireServer

AFTER = 0.05


def hedged(first: str, second: str, *, after: float = AFTER, timeout: float = 2.0) -> Flow[Hedged]:
    """A flow that hedges one request and returns what came of both."""
    one, other = (Send(origin, "GET", "/", timeout) for origin in (first, second))
    found: Hedged = yield Hedge(one, other, after)
    return found


def test_quick_enough(shell: Shell) -> None:
    """When the first answers in time the second is never asked."""
    with WireServer(wire_server.answer) as first, WireServer(wire_server.answer) as second:
        found = shell.run(hedged(first.origin, second.origin, after=5.0))
        assert isinstance(found.first, Reply)
        assert (found.second, found.both_sent) == (None, False)
        assert second.connections == 0


@pytest.mark.parametrize("act", [wire_server.silence, wire_server.trickle])
def test_second_is_quicker(shell: Shell, act: Act) -> None:
    """When the first is silent the second answers, and the first is given up."""
    with WireServer(act) as first, WireServer(wire_server.answer) as second:
        found = shell.run(hedged(first.origin, second.origin))
        assert found.first is None
        assert isinstance(found.second, Reply)
        assert found.both_sent
        assert len(first.requests) == 1


def test_second_fails(shell: Shell) -> None:
    """A second one that fails ends nothing: the first is waited for."""
    go_on = threading.Event()

    def late(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        go_on.wait(10.0)
        connection.sendall(wire_server.OK)

    def cut(server: WireServer, connection: socket.socket) -> None:
        wire_server.cut_at_once(server, connection)
        go_on.set()

    with WireServer(late) as first, WireServer(cut) as second:
        found = shell.run(hedged(first.origin, second.origin, timeout=10.0))
        assert len(second.requests) == 1
    assert isinstance(found.first, Reply)
    assert not isinstance(found.second, Reply)


def test_both_fail(shell: Shell) -> None:
    """When both fail, both failures are told."""
    with WireServer(wire_server.silence) as first, WireServer(wire_server.silence) as second:
        found = shell.run(hedged(first.origin, second.origin, timeout=0.3))
    assert isinstance(found.first, Failure)
    assert isinstance(found.second, Failure)
