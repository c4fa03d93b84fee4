"""Bad input to a running `kato-consul proxy`, all of it at once, beside callers who do their work.

What each kind is answered is in tests/proxy/server/test_bad_input.py. Here it is about the others:
none of their requests fails.
"""

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kato_consul.testing import Fleet
from kato_consul.testing.history import read_session
from tests.callers.checking import check_callers
from tests.callers.fronts import WAYS, Front, front_of
from tests.callers.running import Callers
from tests.proxy.served import call
from tests.testing.waiting import eventually

HELD = 500
"""Connections that are held open by each kind that holds them."""

OBSERVE = b"POST /sessions/%s/observe HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
CHUNKED = b"POST /sessions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
LONG_HEADERS = b"GET / HTTP/1.1\r\n" + b"x-a: " + b"a" * 60_000 + b"\r\n" + b"y: b\r\n" * 5_000

BYTES = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 70_000,
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /%ff%fe/\xff HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /sessions/../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
    b"DELETE /sessions/%00 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    LONG_HEADERS,
    CHUNKED + b"zz\r\n",
    CHUNKED + b"ffffffffffffffffff\r\n",
    CHUNKED + b"5\r\nhello\r\n" * 1_000,
    CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
    b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
    b"GET /ws/events HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"GET /ws/events HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 50000\r\n\r\n" + b"[" * 50_000,
    b"POST /sessions HTTP/1.1\r\nhost: a\r\nidempotency-key: \xff\xfe\r\ncontent-length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx-trace-id: a\tb\x80\r\n\r\n",
)


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """Allow this process as many open files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def front(running_fleet: Fleet, tmp_path: Path) -> Iterator[Front]:
    """A proxy in a process of its own."""
    with front_of(WAYS["proxy"], running_fleet, tmp_path) as front:
        yield front


def test_others_are_served(front: Front, tmp_path: Path) -> None:
    """While connections are held that send nothing, half a request or no HTTP, while answers are
    not read, and while bodies are too long or never end."""
    port = int(front.url.rpartition(":")[2])
    with (
        contextlib.ExitStack() as held,
        Callers(
            front.url, tmp_path, languages=["requests", "requests"], count=400, pause=0.02
        ) as group,
    ):
        assert eventually(lambda: all(len(caller.read()) > 2 for caller in group.all))
        hostile = [hold_idle, hold_half, send_bytes, pipeline, send_too_much]
        began = time.time()
        run_all([partial(one, port, held) for one in hostile])
        ended = time.time()
        group.wait(120)
        tally = check_callers(group.all, lambda session: read_session(front.url, session))
    assert tally.passed, str(tally)
    for caller in group.all:
        assert sum(began < record.began < ended for record in caller.read()) > 10
    assert not [log.name for log in front.logs if "Traceback" in log.read_text()]


def run_all(works: list[Callable[[], None]]) -> None:
    """Run functions at the same time; raise what one of them has raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def connect(port: int, held: contextlib.ExitStack) -> socket.socket:
    """Return a connection that is open until the end of the test."""
    return held.enter_context(socket.create_connection(("127.0.0.1", port), 30.0))


def hold_idle(port: int, held: contextlib.ExitStack) -> None:
    """Connect, and send nothing."""
    for _ in range(HELD):
        connect(port, held)


def hold_half(port: int, held: contextlib.ExitStack) -> None:
    """Send half a head, or half a body."""
    for number in range(HELD):
        half = b"POST /sessions HTTP/1.1\r\nhost: a\r\n"
        connect(port, held).sendall(half if number % 2 else half + b"content-length: 9\r\n\r\n{")


def send_bytes(port: int, held: contextlib.ExitStack) -> None:
    """Send what is no request, or a strange one, and leave or stay without reading."""
    for number in range(300):
        one = connect(port, held)
        with contextlib.suppress(OSError):
            one.sendall(BYTES[number % len(BYTES)])
        if number % 2:
            one.close()


def pipeline(port: int, held: contextlib.ExitStack) -> None:
    """Send many observations to one session at once, and read no answer: each is applied once,
    in their order."""
    session = call(port, "POST", "/sessions", {"node_id": "pipelined"}).json["session_id"]
    requests = []
    for number in range(200):
        body = json.dumps({"strings": [f"pipelined-{number}"]}).encode()
        requests.append(
            OBSERVE % session.encode() + b"content-length: %d\r\n\r\n" % len(body) + body
        )
    connect(port, held).sendall(b"".join(requests))

    def is_applied() -> bool:
        stm = call(port, "GET", f"/sessions/{session}/stm").json["stm"]
        return bool(stm == [[f"pipelined-{number}"] for number in range(200)])

    assert eventually(is_applied)


def send_too_much(port: int, held: contextlib.ExitStack) -> None:
    """Send bodies that are longer than the limit, with and without a length."""
    for head in (
        b"POST /sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 40000000\r\n\r\n",
        CHUNKED + b"2625A00\r\n",
    ):
        one = connect(port, held)
        one.sendall(head)
        with contextlib.suppress(OSError):  # it is closed before the end
            for _ in range(40):
                one.sendall(b"a" * 1_000_000)
