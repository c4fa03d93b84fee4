"""Callers that do not read their answers: they lose their connections; others are served."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from kato_consul.proxy.server.connection_limits import Reader
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.serving import Server, serving
from tests.testing.waiting import eventually

LONG_PATH = b"/" + b"a" * 60_000
"""The answer repeats it."""

MORE_THAN_BUFFERS = 400
"""Answers of this length that no buffer of the kernel takes."""


@pytest.fixture(params=EVENT_LOOPS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that serves two connections at a time."""
    loop_factory(request.param)
    with serving(
        max_connections=2, idle_within=0.5, send_within=0.5, env={"TEST_LOOP": request.param}
    ) as running:
        yield running


def connection_that_does_not_read(server: Server, requests: int) -> socket.socket:
    """Send requests, for as long as the server reads them, and no answer is read."""
    one = server.socket()
    one.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        for _ in range(requests):
            one.sendall(b"GET " + LONG_PATH + b" HTTP/1.1\r\n\r\n")
    return one


def test_answers_that_are_not_read(server: Server) -> None:
    """Many answers wait: the connection is reset, and its place is free again."""
    with contextlib.ExitStack() as open_:
        for _ in range(2):
            open_.enter_context(connection_that_does_not_read(server, MORE_THAN_BUFFERS))
        assert eventually(lambda: server.get("/echo").status == 200, within=20)


def test_reader_that_is_slow() -> None:
    """It is not one that does not read, as long as something is read now and then; that more waits
    than before is no reading."""
    reader = Reader()
    seen = [
        (0, 0),
        (10, 0),
        (20, 900),
        (30, 900),
        (40, 800),
        (50, 950),
        (60, 950),
        (70, 0),
        (80, 5),
    ]
    found = [reader.seconds_without_reading(now, waiting) for now, waiting in seen]
    assert found == [0, 0, 0, 10, 0, 10, 20, 0, 0]
