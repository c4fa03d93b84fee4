"""Odd HTTP on real sockets, with each engine: it returns an outcome, whatever a server sends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kato_consul._async.engines import httpx_engine as async_httpx_engine
from kato_consul._flow import Cause, Failure, Outcome, Reply
from kato_consul._http import http1
from kato_consul._sync.engines import httpx_engine as sync_httpx_engine
from tests.fuzzing import EXAMPLES, SEED
from tests.shells import wire_server
from tests.shells.conftest import BlockingDriver
from tests.shells.test_wire import send_one
from tests.shells.wire_server import Handler, WireServer

MEBIBYTE = 1_048_576

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def responding(*pieces: bytes, reads: bool = True) -> Handler:
    """Return a handler that sends these pieces, and closes the connection."""

    def respond(server: WireServer, connection: socket.socket) -> None:
        if reads:
            server.read(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)

    return respond


def repeating(start: bytes, piece: bytes) -> Handler:
    """Return a handler that sends ``start``, and ``piece`` until the client closes."""

    def respond(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(start)
        while not server.ending.is_set():
            connection.sendall(piece)

    return respond


ENDLESS = {
    "head": (b"HTTP/1.1 200 OK\r\n", b"x-filler: " + b"y" * 1_000 + b"\r\n"),
    "header line": (b"HTTP/1.1 200 OK\r\nx-filler: ", b"y" * 10_000),
    "header name": (b"HTTP/1.1 200 OK\r\n", b"y" * 10_000),
    "status line": (b"HTTP/1.1 200 ", b"y" * 10_000),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 65_536),
    "chunks": (
        CHUNKED,
        b"10000\r\n" + b"y" * 65_536 + b"\r\n",
    ),
    "long body": (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n", b"y" * 65_536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_response_without_end_is_given_up(
    driver: BlockingDriver, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head or body that does not end is no response, long before the timeout."""
    for module in (http1, sync_httpx_engine, async_httpx_engine):
        monkeypatch.setattr(module, "MAX_BODY", 4 * MEBIBYTE)
    with WireServer(repeating(*ENDLESS[kind])) as server:
        failure = driver.run(send_one(server.origin, timeout=60.0))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.PROTOCOL, True)
    assert failure.error is not None


INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


def test_interim_responses_without_end_are_given_up(driver: BlockingDriver) -> None:
    """The final response must come in time, whatever is sent before it."""
    with WireServer(repeating(b"", INTERIM * 100)) as server:
        failure = driver.run(send_one(server.origin, timeout=1.0))
    assert isinstance(failure, Failure)
    assert failure.cause in (Cause.PROTOCOL, Cause.TIMEOUT)
    assert failure.bytes_sent


def test_head_that_trickles_ends_at_the_timeout(driver: BlockingDriver) -> None:
    """The timeout is for the whole response, and not for each read."""

    def trickle(server: WireServer, connection: socket.socket) -> None:
        server.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while not server.ending.wait(0.05):
            connection.sendall(b"y")

    with WireServer(trickle) as server:
        failure = driver.run(send_one(server.origin, timeout=0.5))
        assert not server.ending.is_set()
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.TIMEOUT, True)


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (INTERIM * 3 + wire_server.OK, 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (CHUNKED + b"2;name=value\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (wire_server.OK + b"junk", 200, b"{}"),
        (wire_server.OK * 2, 200, b"{}"),
    ],
)
def test_odd_but_valid_response_is_returned(
    driver: BlockingDriver, response: bytes, status: int, body: bytes
) -> None:
    """Interim responses, trailers and data after the response do not change it."""
    with WireServer(responding(response)) as server:
        reply = driver.run(send_one(server.origin))
    if b"content-length: 2\r\ncontent-length: 2" in response and isinstance(reply, Failure):
        assert reply.cause is Cause.PROTOCOL  # llhttp refuses what RFC 9110 (8.6) allows
        return
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (status, body)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 400 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}",
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"" + b"f" * 40 + b"\r\n{}",
        CHUNKED + b"2\r\n{}\r\n0\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\njunk",
        b"\0" * 100,
        b"\xff" * 100,
    ],
    ids=lambda response: response[:60].decode("latin-1"),
)
def test_response_that_is_not_http_is_a_failure(driver: BlockingDriver, response: bytes) -> None:
    """It was sent, and there is no valid response."""
    with WireServer(responding(response)) as server:
        failure = driver.run(send_one(server.origin))
    assert isinstance(failure, Failure)
    assert failure.cause in (Cause.PROTOCOL, Cause.CUT)
    assert failure.bytes_sent
    assert failure.error is not None


def test_response_to_head_has_no_body(driver: BlockingDriver) -> None:
    """The response to a HEAD ends with its head, whatever length that gives."""

    def respond(server: WireServer, connection: socket.socket) -> None:
        while server.read(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n")

    with WireServer(respond) as server:
        for _ in range(2):
            reply = driver.run(send_one(server.origin, method="HEAD", body=b""))
            assert isinstance(reply, Reply)
            assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:-7",
        "http://127.0.0.1:0",
        "http://127.0.0.1:x",
        "http://:80",
        "http://a b:80",
        "http://a\0b:80",
        "http://a..b:80",
        "http://[bad:80",
        "http://[http://10.0.0.5]:80",
        "http://[::g]:80",
        "http://" + "x" * 70 + ":80",
        "http://" + "\u2603" * 80 + ":80",
        "http://\ud800:80",
        "http://xn--:80",
        "http://127.0.0.1/../x:80",
        "http://[fe80::1%no-such-interface]:80",
        "unix:///no/such/socket",
        "unix://" + "x" * 300,
        "unix:///a\0b",
        "nonsense",
        "",
    ],
    ids=ascii,
)
def test_origin_that_cannot_be_used_counts_as_not_sent(driver: BlockingDriver, origin: str) -> None:
    """Whatever address Consul lists, nothing was sent, and nothing is raised."""
    for _ in range(2):
        failure = driver.run(send_one(origin))
        assert isinstance(failure, Failure)
        assert not failure.bytes_sent
        assert failure.error is not None


# --- generated responses --------------------------------------------------------------------

FRAGMENTS = [
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"200 OK",
    b"204 No Content",
    b"100 Continue",
    b"101 Switching Protocols",
    b"503",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"content-length: ",
    b"content-length: 2\r\n",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"connection: upgrade\r\nupgrade: x\r\n",
    b"2",
    b"2\r\n{}\r\n",
    b"0\r\n\r\n",
    b"{}",
    b"\xff",
    b"\0",
    b": ",
    wire_server.OK,
]


@contextmanager
def generated(pieces: list[bytes]) -> Iterator[str]:
    """A server that sends these pieces to each request."""
    with WireServer(responding(*pieces)) as server:
        yield server.origin


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    pieces=st.lists(
        st.one_of(
            st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join), st.binary(max_size=30)
        ),
        max_size=5,
    ),
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE"]),
)
def test_any_response_gives_an_outcome(
    driver: BlockingDriver, pieces: list[bytes], method: str
) -> None:
    """Whatever a server sends in whatever pieces, the outcome is that of a sent request."""
    with generated(pieces) as origin:
        outcome: Outcome = driver.run(send_one(origin, method=method, body=b"", timeout=10.0))
    if isinstance(outcome, Failure):
        assert outcome.bytes_sent
        assert outcome.cause in (Cause.PROTOCOL, Cause.CUT)
        assert outcome.error is not None
    else:
        assert outcome.status >= 200
