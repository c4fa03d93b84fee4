"""What the shells tell a flow about the wire, on real sockets: above all, whether a byte left."""

import socket
from pathlib import Path

import pytest

from kato_consul.flow import Cause, Failure, Flow, Outcome, Reply, Send
from tests.drivers import wire_server
from tests.drivers.conftest import Shell
from tests.drivers.wire_server import Act, WireServer


def one(origin: str, *, timeout: float = 5.0, body: bytes = b'{"strings": ["a"]}') -> Flow[Outcome]:
    """A flow that sends one request and returns what came of it."""
    outcome: Outcome = yield Send(origin, "POST", "/sessions/s/observe?x=1", timeout, {}, body)
    return outcome


def test_an_answer(shell: Shell) -> None:
    """An answer arrives whole, with status, headers in lower case and body."""
    with WireServer(wire_server.answer) as server:
        reply = shell.run(one(server.origin))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["content-type"] == "application/json"
    assert server.requests[0].startswith(b"POST /sessions/s/observe?x=1 HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'{"strings": ["a"]}')


@pytest.mark.parametrize(
    ("act", "causes"),
    [
        (wire_server.cut_at_once, {Cause.CUT}),
        (wire_server.half_a_head, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.half_an_answer, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.no_http, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.silence, {Cause.TIMEOUT}),
        (wire_server.trickle, {Cause.TIMEOUT}),
    ],
)
def test_what_may_have_been_read_counts_as_sent(shell: Shell, act: Act, causes: set[Cause]) -> None:
    """Whatever goes wrong after the first byte is told as sent: the server may have applied it."""
    with WireServer(act) as server:
        failure = shell.run(one(server.origin, timeout=0.5))
        assert len(server.requests) == 1
    assert isinstance(failure, Failure)
    assert failure.sent
    assert failure.cause in causes


def test_a_refused_connection_sent_nothing(shell: Shell) -> None:
    """A connection that was refused is told as not sent."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    failure = shell.run(one(f"http://127.0.0.1:{port}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.sent) == (Cause.CONNECT, False)


def test_a_connection_nobody_accepts_sent_nothing(shell: Shell) -> None:
    """A server whose queue of connections is full: the wait ends after the connect timeout."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        name = full.getsockname()
        with socket.create_connection(name):  # fills the queue of one
            failure = shell.run(one(f"http://127.0.0.1:{name[1]}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.sent) == (Cause.CONNECT, False)


def test_an_unknown_host_sent_nothing(shell: Shell) -> None:
    """A name that does not resolve is told as not sent."""
    failure = shell.run(one("http://no-such-host.invalid:80"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.sent) == (Cause.CONNECT, False)


def test_tls_that_fails_sent_nothing(shell: Shell) -> None:
    """A handshake that fails is told as not sent: the request comes after it."""
    with WireServer(wire_server.no_http) as server:
        failure = shell.run(one(server.origin.replace("http://", "https://")))
    assert isinstance(failure, Failure)
    assert not failure.sent


def test_connections_are_kept(shell: Shell) -> None:
    """Requests one after another share a connection."""
    with WireServer(wire_server.answer) as server:
        for _ in range(5):
            assert isinstance(shell.run(one(server.origin)), Reply)
        assert server.connections == 1


def test_a_connection_that_the_server_closed_is_not_used(shell: Shell) -> None:
    """A kept connection that the server closed meanwhile is noticed before anything is sent."""

    def answer_once(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)

    with WireServer(answer_once) as server:
        for _ in range(3):
            assert isinstance(shell.run(one(server.origin)), Reply)
            server.ending.wait(0.05)  # the close has to arrive
        assert server.connections == 3


def test_after_a_500_the_connection_is_dropped(shell: Shell) -> None:
    """After a 500 no request runs into the close that uvicorn does not announce."""
    with WireServer(wire_server.fails_and_closes, wire_server.answer) as server:
        failed = shell.run(one(server.origin))
        assert isinstance(failed, Reply)
        assert failed.status == 500
        assert isinstance(shell.run(one(server.origin)), Reply)
        assert server.connections == 2


def test_unix_socket(shell: Shell, tmp_path: Path) -> None:
    """An origin may be a socket in the file system, as Consul's agent can have it."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = WireServer(wire_server.answer)
        server._listener.close()
        server._listener = listener
        with server:
            reply = shell.run(one(f"unix://{path}"))
    assert isinstance(reply, Reply)
