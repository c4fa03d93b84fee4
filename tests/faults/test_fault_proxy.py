"""The fault proxy does what its table says, and nothing else."""

import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from kato_consul.testing.fault_plan import (
    Fault,
    any_request,
    at_random,
    every,
    is_observation,
    no_fault,
)
from kato_consul.testing.fault_proxy import FaultProxy
from tests.shells import wire_server
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

OBSERVE = "/sessions/s/observe"
BODY = {"strings": ["a"]}


@pytest.fixture
def server() -> Iterator[WireServer]:
    """Answers everything with 200 and {}."""
    with WireServer(wire_server.answer) as made:
        yield made


@pytest.fixture
def proxy(server: WireServer) -> Iterator[FaultProxy]:
    """A proxy in front of it; it leaves no thread behind."""
    before = set(threading.enumerate())
    with FaultProxy(server.origin) as made:
        yield made
    assert set(threading.enumerate()) <= before | set(server._threads)


@pytest.fixture
def http(proxy: FaultProxy) -> Iterator[httpx.Client]:
    """A client of the proxy, with patience for half a second."""
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=0.5) as made:
        yield made


def test_without_a_plan(server: WireServer, proxy: FaultProxy, http: httpx.Client) -> None:
    """Without a plan everything passes unchanged, over one connection."""
    for _ in range(3):
        assert http.post(OBSERVE, json=BODY).json() == {}
    assert (proxy.requests, proxy.counts) == (3, Counter())
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /sessions/s/observe HTTP/1.1\r\n")
    assert server.requests[0].endswith(b'{"strings":["a"]}')


@pytest.mark.parametrize(
    ("fault", "error", "arrives"),
    [
        (Fault.CUT_REQUEST, httpx.RemoteProtocolError, False),
        (Fault.CUT_APPLIED, httpx.ReadError, True),
        (Fault.HALF_ANSWER, httpx.RemoteProtocolError, True),
        (Fault.HANG, httpx.ReadTimeout, False),
        (Fault.HANG_APPLIED, httpx.ReadTimeout, True),
    ],
)
def test_no_whole_answer(
    server: WireServer,
    proxy: FaultProxy,
    http: httpx.Client,
    fault: Fault,
    error: type[Exception],
    *,
    arrives: bool,
) -> None:
    """A connection that is cut, reset or silent, with the request applied or not."""
    proxy.plan = every(1, fault)
    with pytest.raises(error):
        http.post(OBSERVE, json=BODY)
    assert proxy.counts == {fault: 1}
    assert eventually(lambda: len(server.requests) == arrives)
    proxy.plan = no_fault
    assert http.post(OBSERVE, json=BODY).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "arrives"),
    [
        (Fault.LIMIT_503, 503, False),
        (Fault.STATUS_502, 502, False),
        (Fault.STATUS_502_APPLIED, 502, True),
        (Fault.STATUS_504, 504, False),
        (Fault.STATUS_504_APPLIED, 504, True),
    ],
)
def test_somebody_elses_answer(
    server: WireServer,
    proxy: FaultProxy,
    http: httpx.Client,
    fault: Fault,
    status: int,
    *,
    arrives: bool,
) -> None:
    """An answer that is not the instance's own, with the request applied or not."""
    proxy.plan = every(1, fault)
    answer = http.post(OBSERVE, json=BODY)
    assert answer.status_code == status
    assert answer.headers["connection"] == "close"
    assert (answer.text == "Service Unavailable") == (fault is Fault.LIMIT_503)
    assert len(server.requests) == arrives


def test_cut_before(server: WireServer, proxy: FaultProxy, http: httpx.Client) -> None:
    """After the answer nobody listens for a moment: whoever comes next is refused."""
    proxy.plan = every(1, Fault.CUT_BEFORE)
    proxy.refuse_for = 0.3
    assert http.post(OBSERVE, json=BODY).status_code == 200
    with pytest.raises(httpx.ConnectError):
        http.post(OBSERVE, json=BODY)
    assert len(server.requests) == 1

    def accepted() -> bool:
        try:
            return http.get("/health").status_code == 200
        except httpx.ConnectError:
            return False

    assert eventually(accepted)


def test_refusing(proxy: FaultProxy, http: httpx.Client) -> None:
    """While it is told to refuse, connections are refused, and kept ones are closed."""
    assert http.post(OBSERVE, json=BODY).status_code == 200
    with proxy.refusing():
        with pytest.raises(httpx.ConnectError):
            http.post(OBSERVE, json=BODY)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port))
    assert http.post(OBSERVE, json=BODY).status_code == 200


def test_release(server: WireServer, proxy: FaultProxy, http: httpx.Client) -> None:
    """What hangs arrives when it is released, though its caller is long gone."""
    proxy.plan = every(1, Fault.HANG)
    with pytest.raises(httpx.ReadTimeout):
        http.post(OBSERVE, json=BODY)
    assert server.requests == []
    with pytest.raises(TimeoutError):
        proxy.wait_idle(0.05)
    proxy.release()
    proxy.wait_idle()
    assert len(server.requests) == 1


def test_released_in_time(proxy: FaultProxy, http: httpx.Client) -> None:
    """A caller that waits long enough gets its answer."""
    proxy.plan = every(1, Fault.HANG, Fault.HANG_APPLIED)
    proxy.hang_for = 0.1
    assert [http.post(OBSERVE, json=BODY).status_code for _ in range(2)] == [200, 200]


def test_an_instance_that_is_not_there() -> None:
    """Where the instance refuses, the caller is cut off: the proxy has read its request."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with FaultProxy(url) as proxy, pytest.raises(httpx.ReadError):
        httpx.post(f"{proxy.url}{OBSERVE}", json=BODY, trust_env=False)


def test_many_at_once(server: WireServer, proxy: FaultProxy) -> None:
    """Connections side by side do not get into each other's way."""
    with (
        httpx.Client(base_url=proxy.url, trust_env=False) as http,
        ThreadPoolExecutor(8) as pool,
    ):
        calls = pool.map(lambda _: http.post(OBSERVE, json=BODY).status_code, range(80))
        assert set(calls) == {200}
    assert proxy.requests == len(server.requests) == 80


def test_plans() -> None:
    """Each n-th matching request, faults in turn; or at random, by a seed, at a rate."""
    plan = every(3, Fault.HANG, Fault.LIMIT_503)
    told = [plan("POST", OBSERVE) for _ in range(12)]
    assert told == [None, None, Fault.HANG, None, None, Fault.LIMIT_503] * 2
    assert plan("GET", OBSERVE) is None
    assert is_observation("POST", OBSERVE)
    assert not is_observation("POST", f"{OBSERVE}-sequence")
    one, other = (
        at_random(0.1, *Fault, chance=random.Random(5), matching=any_request) for _ in range(2)
    )
    told = [one("GET", "/") for _ in range(1_000)]
    assert told == [other("GET", "/") for _ in range(1_000)]
    assert 50 < sum(fault is not None for fault in told) < 150


def test_what_is_no_instance() -> None:
    """A target without a host and a port is refused at once."""
    with pytest.raises(ValueError, match="http://host:port"):
        FaultProxy("127.0.0.1:8000")
