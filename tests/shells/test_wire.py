"""What the shells tell a flow about the wire, on real sockets: above all, whether a byte left."""

import socket
import threading
from pathlib import Path

import pytest

from kato_consul._flow import Cause, CloseConnections, Failure, Flow, Outcome, Reply, Send
from tests.shells import wire_server
from tests.shells.conftest import KEEPALIVE, Shell
from tests.shells.wire_server import Act, WireServer
from tests.testing.waiting import eventually


def one(
    origin: str,
    *,
    method: str = "POST",
    target: str = "/sessions/s/observe?x=1",
    timeout: float = 5.0,
    body: bytes = b'{"strings": ["a"]}',
) -> Flow[Outcome]:
    """A flow that sends one request and returns what came of it."""
    outcome: Outcome = yield Send(origin, method, target, timeout, {}, body)
    return outcome


def dropping(origin: str) -> Flow[None]:
    """A flow that has the connections to an origin closed."""
    yield CloseConnections(origin)


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
        (wire_server.reset, {Cause.CUT}),
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
    assert failure.bytes_sent
    assert failure.cause in causes


def test_a_refused_connection_sent_nothing(shell: Shell) -> None:
    """A connection that was refused is told as not sent."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    failure = shell.run(one(f"http://127.0.0.1:{port}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_a_connection_nobody_accepts_sent_nothing(shell: Shell) -> None:
    """A server whose queue of connections is full: the wait ends after the connect timeout."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        name = full.getsockname()
        with socket.create_connection(name):  # fills the queue of one
            failure = shell.run(one(f"http://127.0.0.1:{name[1]}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_an_unknown_host_sent_nothing(shell: Shell) -> None:
    """A name that does not resolve is told as not sent."""
    failure = shell.run(one("http://no-such-host.invalid:80"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_tls_that_fails_sent_nothing(shell: Shell) -> None:
    """A handshake that fails is told as not sent: the request comes after it."""
    with WireServer(wire_server.no_http) as server:
        failure = shell.run(one(server.origin.replace("http://", "https://")))
    assert isinstance(failure, Failure)
    assert not failure.bytes_sent


def test_connections_are_kept(shell: Shell) -> None:
    """Requests one after another share a connection."""
    with WireServer(wire_server.answer) as server:
        for _ in range(5):
            assert isinstance(shell.run(one(server.origin)), Reply)
        assert server.connections == 1


def test_a_connection_that_the_server_closed_is_not_used(shell: Shell) -> None:
    """A kept connection that the server closed meanwhile is noticed before anything is sent: also
    when the event loop did not run since, and has not seen it."""
    enough = threading.Event()

    def answer_once(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        enough.wait(10.0)

    with WireServer(answer_once) as server:
        for number in range(3):
            enough.clear()
            assert isinstance(shell.run(one(server.origin)), Reply)
            enough.set()
            assert eventually(lambda number=number: server.closed == number + 1)  # type: ignore[misc]
        assert server.connections == 3


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_kept_connection_that_is_cut_is_told(shell: Shell, method: str) -> None:
    """Cut on a kept connection, after the request was read, a request of any method is told as
    sent, and is not repeated: whether it was applied is not the engine's to guess."""

    def answers_once_then_cuts(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        server.read(connection)

    with WireServer(answers_once_then_cuts, wire_server.answer) as server:
        assert isinstance(shell.run(one(server.origin)), Reply)
        failure = shell.run(one(server.origin, method=method))
        assert isinstance(failure, Failure)
        assert (failure.cause, failure.bytes_sent) == (Cause.CUT, True)
        assert len(server.requests) == 2


@pytest.mark.parametrize("engine", ["httptools"])  # httpx takes what it had read already
def test_a_connection_that_spoke_unasked_is_not_used(shell: Shell) -> None:
    """What a server says between requests is not taken for the answer to the next one."""
    spoken = threading.Event()

    def answers_twice(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        connection.sendall(wire_server.OK.replace(b"{}", b"[]"))
        spoken.set()
        server.read(connection)

    with WireServer(answers_twice, wire_server.answer) as server:
        assert isinstance(shell.run(one(server.origin)), Reply)
        assert spoken.wait(5.0)
        for _ in range(2):
            reply = shell.run(one(server.origin))
            assert isinstance(reply, Reply)
            assert reply.body == b"{}"
        assert server.connections == 2


def test_an_idle_connection_is_dropped_in_time(shell: Shell) -> None:
    """A connection that was not used for ``keepalive`` seconds takes no request any more."""
    with WireServer(wire_server.answer) as server:
        assert isinstance(shell.run(one(server.origin)), Reply)
        server.ending.wait(KEEPALIVE + 0.2)
        assert isinstance(shell.run(one(server.origin)), Reply)
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + wire_server.OK, b"{}"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            b"abc",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nx-empty:\r\nX-Two: a\r\nx-two: b\r\ncontent-length: 1\r\n\r\nx",
            b"x",
        ),
    ],
    ids=["continue", "until the end", "chunked", "no content", "headers"],
)
def test_shapes_of_an_answer(shell: Shell, answer: bytes, body: bytes) -> None:
    """Each way in which HTTP/1.1 ends an answer is understood, byte by byte too."""

    def answers(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        for position in range(len(answer)):
            connection.sendall(answer[position : position + 1])

    with WireServer(answers) as server:
        reply = shell.run(one(server.origin))
    assert isinstance(reply, Reply)
    assert reply.body == body
    if b"X-Two" in answer:
        assert (reply.headers["x-two"], reply.headers["x-empty"]) == ("a, b", "")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nx: y", "/a\n"])
def test_what_is_not_one_request_is_not_sent(shell: Shell, target: str) -> None:
    """A target that would make two requests of one never leaves."""
    with WireServer(wire_server.answer) as server:
        failure = shell.run(one(server.origin, target=target))
        assert isinstance(failure, Failure)
        assert not failure.bytes_sent
        assert server.requests == []


def test_a_large_request(shell: Shell) -> None:
    """A body that no buffer of a socket holds goes out whole."""
    body = b"x" * 8_000_000
    with WireServer(wire_server.answer) as server:
        assert isinstance(shell.run(one(server.origin, body=body, timeout=30.0)), Reply)
        assert server.requests[0].endswith(body)


def test_a_dropped_origin_keeps_no_connection(shell: Shell) -> None:
    """When an instance leaves, its kept connections are closed, and a new one can be made."""
    with WireServer(wire_server.answer) as server:
        assert isinstance(shell.run(one(server.origin)), Reply)
        shell.run(dropping(server.origin))
        assert eventually(lambda: server.closed == 1)
        assert isinstance(shell.run(one(server.origin)), Reply)
        assert server.connections == 2


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
