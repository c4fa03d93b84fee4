"""Bad input: the server answers or closes, and serves the others."""

import contextlib
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.fuzzing import EXAMPLES, SEED
from tests.proxy.server.metrics_pages import number
from tests.proxy.server.serving import Server, serving
from tests.testing.waiting import eventually

MAX_BODY = 100_000

PARTS = [
    *(b"GET /echo HTTP/1.1\r\n", b"POST /echo HTTP/1.1\r\n", b"HEAD /echo HTTP/1.0\r\n"),
    *(b"host: a\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"),
    *(b"connection: close\r\n", b"connection: upgrade\r\n", b"upgrade: websocket\r\n"),
    *(b"upgrade: h2c\r\n", b"expect: 100-continue\r\n", b"\r\n", b"abc", b"3\r\nabc\r\n"),
    *(b"0\r\n\r\n", b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"\n", b"\0"),
]
"""Pieces of requests, in any order."""


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """The port of the server's metrics."""
    return free_ports(1)[0]


@pytest.fixture(scope="module", params=EVENT_LOOPS)
def server(request: pytest.FixtureRequest, metrics_port: int) -> Iterator[Server]:
    """A server with short limits."""
    loop_factory(request.param)
    with serving(
        metrics=f"127.0.0.1:{metrics_port}",
        max_body=MAX_BODY,
        max_connections=1500,
        head_within=0.5,
        body_within=0.5,
        env={"TEST_LOOP": request.param},
    ) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nno colon\r\n\r\n",
        b"CONNECT kato:8000 HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n",
        b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_not_http(server: Server, sent: bytes) -> None:
    """A 400 in JSON, after which the connection is closed."""
    with server.socket() as one:
        one.sendall(sent)
        status, body = answer_of(one)
    assert status == 400
    assert body.startswith(b'{"detail": "this is not an HTTP/1.1 request: ')
    assert server.get("/echo").status == 200


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        (b"GET /echo HT", "headers"),
        (b"GET /echo HTTP/1.1\r\nhost: a\r\n", "headers"),
        (b"POST /echo HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", "body"),
        (b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "body"),
        (b"GET /echo HTTP/1.1\r\n\r\nGET", "headers"),
        (b"\r\n\r\n", "headers"),
    ],
)
def test_request_that_does_not_end(server: Server, sent: bytes, part: str) -> None:
    """A 408, after which the connection is closed."""
    with server.socket() as one:
        one.sendall(sent)
        while (answer := answer_of(one))[0] == 200:
            pass  # to the first of two requests
    assert answer[0] == 408
    assert f"the {part} of the request did not end within 0.5 s".encode() in answer[1]


def test_slow_trickle(server: Server) -> None:
    """A byte now and then does not extend the time."""
    with server.socket() as one, contextlib.suppress(OSError):
        one.settimeout(0.05)
        one.sendall(b"GET /echo HTTP/1.1\r\nx: ")
        answer = b""
        while not answer:
            one.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = one.recv(1000)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_headers_that_never_end(server: Server) -> None:
    """They are read up to 64 KiB."""
    with server.socket() as one:
        one.sendall(b"GET /echo HTTP/1.1\r\n")
        for _ in range(70):
            one.sendall(b"x: " + b"a" * 1000 + b"\r\n")
        assert answer_of(one)[0] == 431


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
@pytest.mark.parametrize("announced", [True, False])
def test_body_too_long(server: Server, announced: bool, connection: bytes) -> None:
    """A 413, also if its length was not announced. A caller that sends it all the same sees the
    answer when it has sent it."""
    body = b"a" * (MAX_BODY * 20)
    head = b"POST /echo HTTP/1.1\r\nconnection: " + connection + b"\r\n"
    with server.socket() as one:
        if announced:
            one.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        else:
            one.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
            one.sendall(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        status, text = answer_of(one)
    assert status == 413
    assert text == b'{"detail": "the body is larger than 100000 bytes"}'


def test_body_that_goes_on_after_its_413(server: Server) -> None:
    """It is not read for long: the connection is closed."""
    with server.socket() as one:
        one.sendall(b"POST /echo HTTP/1.1\r\ncontent-length: 100000000\r\n\r\n")
        assert answer_of(one)[0] == 413
        assert eventually(lambda: is_closed_while_sending(one))


def test_longest_body(server: Server) -> None:
    """The application gets a body in one piece."""
    answer = server.request("POST", "/echo", b"a" * MAX_BODY)
    assert (answer.status, answer.json["body"], answer.json["whole"]) == (200, MAX_BODY, True)


def test_caller_that_leaves(server: Server) -> None:
    """In the middle of its headers or its body; the others are served."""
    for sent in (b"GET /ec", b"POST /echo HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"):
        for _ in range(20):
            with server.socket() as one:
                one.sendall(sent)
    assert server.get("/echo").status == 200


def test_pipelined_requests(server: Server) -> None:
    """All are answered in their order, the last ends the connection."""
    with server.socket() as one:
        one.sendall(
            b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
            b"GET /b HTTP/1.1\r\n\r\n"
            b"GET /c HTTP/1.1\r\nconnection: close\r\n\r\n"
        )
        answers = b"".join(iter(lambda: one.recv(10_000), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b'"/a"') < answers.index(b'"/b"') < answers.index(b'"/c"')


@pytest.mark.parametrize("rest", [b"no HTTP\r\n\r\n", b"GET /" + b"a" * 66_000])
def test_what_follows_a_request_in_hand(
    server: Server, metrics_port: int, rest: bytes, tmp_path: Path
) -> None:
    """It is not HTTP, and says nothing about the request before it, whose answer is the last."""
    held = tmp_path / "held"
    series = 'kato_proxy_rejected_total{reason="malformed"}'
    before = number(metrics_port, series)
    with server.socket() as one:
        one.sendall(b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" * 2)
        one.sendall(b"POST /hold?%b HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" % str(held).encode())
        assert eventually(held.with_suffix(".begun").exists)
        one.sendall(rest)
        assert eventually(lambda: number(metrics_port, series) == before + 1)
        held.touch()
        answers = b"".join(iter(lambda: one.recv(10_000), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"HTTP/1.1 ") == 3
    assert answers.count(b"connection: close") == 1


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_upgrade_to_http_2(server: Server, method: str, pieces: int) -> None:
    """Java's HttpClient offers it with each request: the body is not lost, nor the connection."""
    body = b"abc" if method == "POST" else b""
    sent = (
        b"%b /echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAA\r\nContent-Length: %d\r\n\r\n%b"
    ) % (method.encode(), len(body), body)
    size = len(sent) // pieces + 1
    with server.socket() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            for start in range(0, len(sent), size):
                one.sendall(sent[start : start + size])
            status, answer = answer_of(one)
            assert (status, json.loads(answer)["body"]) == (200, len(body))


def test_many_upgrades_in_a_row(server: Server) -> None:
    """Each of so many pipelined requests is answered: they need no stack."""
    count = 700
    request = b"GET /echo HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with server.socket() as one:
        one.sendall(request * count + b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n")
        with one.makefile("rb") as answers:
            received = answers.read()
    assert received.count(b"HTTP/1.1 200 ") == count + 1


def test_expected_continue(server: Server) -> None:
    """A caller that waits before it sends its body is told to send it, or gets the 413."""
    with server.socket() as one:
        for length in (3, MAX_BODY + 1):
            one.sendall(
                b"POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
                % length
            )
            first = one.recv(1000)
            if length == 3:
                assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
                one.sendall(b"abc")
                assert answer_of(one)[0] == 200
            else:
                assert first.startswith(b"HTTP/1.1 413 ")


@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=20)), max_size=12))
def test_arbitrary_bytes(server: Server, parts: list[bytes]) -> None:
    """Each connection ends with answers to what was a request; the others are served."""
    with server.socket() as one:
        one.sendall(b"".join(parts))
        one.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: one.recv(10_000), b""))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    with server.socket() as other:
        other.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
        assert answer_of(other)[0] == 200


def test_a_thousand_connections(server: Server) -> None:
    """That send nothing, or never end a request: another one is served meanwhile."""
    with contextlib.ExitStack() as stack:
        for number in range(1000):
            one = stack.enter_context(server.socket())
            if number % 2:
                one.sendall(b"GET /echo HTTP/1.1\r\n")
        assert server.get("/echo").status == 200


def test_too_many_connections() -> None:
    """Those above the limit get a 503, and are closed; a free place is used again."""
    with serving(max_connections=3) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.socket()) for _ in range(3)]
        for one in held:
            one.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
            assert answer_of(one)[0] == 200
        refused = server.get("/echo")
        assert (refused.status, refused.closes) == (503, True)
        assert refused.headers["retry-after"] == "1"
        for one in held:  # those that were there are served on
            one.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
            assert answer_of(one)[0] == 200
        held[0].close()
        assert eventually(lambda: server.get("/echo").status == 200)


def answer_of(one: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of the next response."""
    response = HTTPResponse(one)
    response.begin()
    return response.status, response.read()


def is_closed_while_sending(one: socket.socket) -> bool:
    """Send more, and return whether the other side has closed the connection."""
    try:
        one.sendall(b"a" * 10_000)
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False
