"""Answers before the whole request was received, on real sockets, with each engine."""

import socket

import pytest

from kato_consul._flow import Cause, Failure, Reply
from tests.shells import wire_server
from tests.shells.conftest import BlockingDriver
from tests.shells.test_wire import send_one
from tests.shells.wire_server import WireServer

HUGE = b"x" * 8_000_000
"""A request body that no socket buffer holds."""

INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"

REFUSAL = (
    b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntoo large"
)


def refuse_and_close(server: WireServer, connection: socket.socket) -> None:
    """Read the head of the request, answer, and close: unread data makes that a reset."""
    connection.recv(100)
    connection.sendall(REFUSAL)


def refuse_and_wait(server: WireServer, connection: socket.socket) -> None:
    """Read the head of the request, answer, and read nothing more."""
    connection.recv(100)
    connection.sendall(REFUSAL)
    server.ending.wait(10.0)


def hint_and_read(server: WireServer, connection: socket.socket) -> None:
    """Send an interim response during the request, and answer after it."""
    received = len(connection.recv(100))
    connection.sendall(INTERIM)
    while received < len(HUGE):
        received += len(connection.recv(65_536))
    connection.sendall(wire_server.OK)


def test_early_answer_is_returned(driver: BlockingDriver) -> None:
    """A server that answers and closes during the request has answered."""
    with WireServer(refuse_and_close) as server:
        for _ in range(3):
            reply = driver.run(send_one(server.origin, body=HUGE))
            assert isinstance(reply, Reply)
            assert (reply.status, reply.body) == (413, b"too large")


@pytest.mark.parametrize("engine", ["httptools"])  # httpx writes the whole request first
def test_early_answer_ends_the_request(driver: BlockingDriver) -> None:
    """The rest of the request is not sent, and the connection is not used again."""
    kept_open = REFUSAL.replace(b"connection: close\r\n", b"")

    def refuse(server: WireServer, connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(kept_open)
        server.ending.wait(10.0)

    with WireServer(refuse_and_wait, refuse, wire_server.respond_ok) as server:
        for _ in range(2):
            reply = driver.run(send_one(server.origin, body=HUGE, timeout=60.0))
            assert isinstance(reply, Reply)
            assert reply.status == 413
        assert isinstance(driver.run(send_one(server.origin)), Reply)
        assert server.connections == 3


def test_interim_response_does_not_end_the_request(driver: BlockingDriver) -> None:
    """After an interim response the rest of the request is sent."""
    with WireServer(hint_and_read) as server:
        reply = driver.run(send_one(server.origin, body=HUGE, timeout=30.0))
    assert isinstance(reply, Reply)
    assert reply.status == 200


def test_cut_during_the_request_counts_as_sent(driver: BlockingDriver) -> None:
    """Without an answer, a connection that is closed during the request is cut."""

    def close(server: WireServer, connection: socket.socket) -> None:
        connection.recv(100)

    with WireServer(close) as server:
        failure = driver.run(send_one(server.origin, body=HUGE))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CUT, True)
