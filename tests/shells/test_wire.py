"""Outcomes of requests on real sockets, with each engine: above all, whether a byte was sent."""

import socket
import threading
from pathlib import Path

import pytest

from kato_consul._flow import Cause, CloseConnections, Failure, Flow, Outcome, Reply, Send
from kato_consul.testing.ports import free_ports
from tests.shells import wire_server
from tests.shells.conftest import KEEPALIVE, BlockingDriver
from tests.shells.wire_server import Handler, WireServer
from tests.testing.waiting import eventually


def send_one(
    origin: str,
    *,
    method: str = "POST",
    target: str = "/sessions/s/observe?x=1",
    timeout: float = 5.0,
    body: bytes = b'{"strings": ["a"]}',
) -> Flow[Outcome]:
    """Flow: send one request and return its outcome."""
    outcome: Outcome = yield Send(origin, method, target, timeout, {}, body)
    return outcome


def close_origin(origin: str) -> Flow[None]:
    """Flow: close the connections to an origin."""
    yield CloseConnections(origin)


def test_response_is_returned_whole(driver: BlockingDriver) -> None:
    """A response is returned with its status, headers in lower case, and body."""
    with WireServer(wire_server.respond_ok) as server:
        reply = driver.run(send_one(server.origin))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["content-type"] == "application/json"
    assert server.requests[0].startswith(b"POST /sessions/s/observe?x=1 HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'{"strings": ["a"]}')


@pytest.mark.parametrize(
    ("handler", "causes"),
    [
        (wire_server.reset_connection, {Cause.CUT}),
        (wire_server.close_without_response, {Cause.CUT}),
        (wire_server.truncate_headers, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.truncate_body, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.respond_non_http, {Cause.CUT, Cause.PROTOCOL}),
        (wire_server.never_respond, {Cause.TIMEOUT}),
        (wire_server.trickle_forever, {Cause.TIMEOUT}),
    ],
)
def test_failure_after_the_first_byte_counts_as_sent(
    driver: BlockingDriver, handler: Handler, causes: set[Cause]
) -> None:
    """Any failure after the first byte counts as sent: the server may have applied the request."""
    timeout = 1.0 if Cause.TIMEOUT in causes else 10.0
    with WireServer(handler) as server:
        failure = driver.run(send_one(server.origin, timeout=timeout))
        assert len(server.requests) == 1
    assert isinstance(failure, Failure)
    assert failure.bytes_sent
    assert failure.cause in causes


def test_refused_connection_counts_as_not_sent(driver: BlockingDriver) -> None:
    """If the connection is refused, nothing was sent."""
    (port,) = free_ports(1)
    failure = driver.run(send_one(f"http://127.0.0.1:{port}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_full_accept_queue_counts_as_not_sent(driver: BlockingDriver) -> None:
    """If the server's accept queue is full, the connect timeout ends the wait; nothing was sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_ports(1)[0]))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address):  # fills the queue of one
            failure = driver.run(send_one(f"http://127.0.0.1:{address[1]}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_unknown_host_counts_as_not_sent(driver: BlockingDriver) -> None:
    """If the host name does not resolve, nothing was sent."""
    failure = driver.run(send_one("http://no-such-host.invalid:80"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


def test_failed_tls_handshake_counts_as_not_sent(driver: BlockingDriver) -> None:
    """If the TLS handshake fails, nothing was sent: the request would follow it."""
    with WireServer(wire_server.respond_non_http) as server:
        failure = driver.run(send_one(server.origin.replace("http://", "https://")))
    assert isinstance(failure, Failure)
    assert not failure.bytes_sent


def test_sequential_requests_share_a_connection(driver: BlockingDriver) -> None:
    """Requests sent one after another use the same connection."""
    with WireServer(wire_server.respond_ok) as server:
        for _ in range(5):
            assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert server.connections == 1


def test_idle_connection_closed_by_the_server_is_not_used(driver: BlockingDriver) -> None:
    """If the server closed an idle connection, the client detects it before it sends a request.

    It does so even if the event loop has not run since the close."""
    may_close = threading.Event()

    def respond_once(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        may_close.wait(10.0)

    with WireServer(respond_once) as server:
        for number in range(3):
            may_close.clear()
            assert isinstance(driver.run(send_one(server.origin)), Reply)
            may_close.set()
            assert eventually(lambda number=number: server.closed == number + 1)  # type: ignore[misc]
        assert server.connections == 3


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_cut_on_a_reused_connection_counts_as_sent(driver: BlockingDriver, method: str) -> None:
    """If a reused connection is cut after the request was read, the request counts as sent.

    The engine does not repeat it, whatever the method: it may have been applied."""

    def respond_once_then_cut(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        server.read(connection)

    with WireServer(respond_once_then_cut, wire_server.respond_ok) as server:
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        failure = driver.run(send_one(server.origin, method=method))
        assert isinstance(failure, Failure)
        assert (failure.cause, failure.bytes_sent) == (Cause.CUT, True)
        assert len(server.requests) == 2


@pytest.mark.parametrize("engine", ["httptools"])  # httpx uses data that it has read already
def test_connection_with_unrequested_data_is_not_used(driver: BlockingDriver) -> None:
    """Data that a server sends between requests is not taken as the next response."""
    sent_twice = threading.Event()

    def respond_twice(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(wire_server.OK)
        connection.sendall(wire_server.OK.replace(b"{}", b"[]"))
        sent_twice.set()
        server.read(connection)

    with WireServer(respond_twice, wire_server.respond_ok) as server:
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert sent_twice.wait(5.0)
        for _ in range(2):
            reply = driver.run(send_one(server.origin))
            assert isinstance(reply, Reply)
            assert reply.body == b"{}"
        assert server.connections == 2


@pytest.mark.parametrize("keepalive", [KEEPALIVE])
def test_connection_idle_for_keepalive_is_not_reused(driver: BlockingDriver) -> None:
    """A connection that was idle for ``keepalive`` seconds gets no further request."""
    with WireServer(wire_server.respond_ok) as server:
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        server.ending.wait(KEEPALIVE + 0.2)
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert server.connections == 2


@pytest.mark.parametrize(
    ("response", "body"),
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
def test_response_framing_is_parsed(driver: BlockingDriver, response: bytes, body: bytes) -> None:
    """Each way in which HTTP/1.1 ends a response is parsed, even if sent byte by byte."""

    def respond(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        for position in range(len(response)):
            connection.sendall(response[position : position + 1])

    with WireServer(respond) as server:
        reply = driver.run(send_one(server.origin))
    assert isinstance(reply, Reply)
    assert reply.body == body
    if b"X-Two" in response:
        assert (reply.headers["x-two"], reply.headers["x-empty"]) == ("a, b", "")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nx: y", "/a\n"])
def test_target_that_would_split_the_request_is_not_sent(
    driver: BlockingDriver, target: str
) -> None:
    """A target that would turn one request into two is refused before anything is sent."""
    with WireServer(wire_server.respond_ok) as server:
        failure = driver.run(send_one(server.origin, target=target))
        assert isinstance(failure, Failure)
        assert not failure.bytes_sent
        assert server.requests == []


def test_body_larger_than_socket_buffers_is_sent_whole(driver: BlockingDriver) -> None:
    """A body larger than any socket buffer is sent whole."""
    body = b"x" * 8_000_000
    with WireServer(wire_server.respond_ok) as server:
        assert isinstance(driver.run(send_one(server.origin, body=body, timeout=30.0)), Reply)
        assert server.requests[0].endswith(body)


def test_close_origin_closes_idle_connections(driver: BlockingDriver) -> None:
    """Closing an origin closes its idle connections; a later request opens a new one."""
    with WireServer(wire_server.respond_ok) as server:
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        driver.run(close_origin(server.origin))
        assert eventually(lambda: server.closed == 1)
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert server.connections == 2


def test_connection_is_closed_after_a_500(driver: BlockingDriver) -> None:
    """After a 500 the connection is not reused: uvicorn closes it without announcing that."""
    with WireServer(wire_server.respond_500_and_close, wire_server.respond_ok) as server:
        failed = driver.run(send_one(server.origin))
        assert isinstance(failed, Reply)
        assert failed.status == 500
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert server.connections == 2


def test_unix_socket_origin_gets_a_response(driver: BlockingDriver, tmp_path: Path) -> None:
    """An origin may be a unix socket, on which a Consul agent can listen."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = WireServer(wire_server.respond_ok)
        server._listener.close()
        server._listener = listener
        with server:
            reply = driver.run(send_one(f"unix://{path}"))
    assert isinstance(reply, Reply)
