"""The fault proxy injects the faults of its table, and nothing else."""

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
from kato_consul.testing.ports import free_ports
from tests.shells import wire_server
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

OBSERVE = "/sessions/s/observe"
BODY = {"strings": ["a"]}


@pytest.fixture
def server() -> Iterator[WireServer]:
    """A server that responds to all requests with 200 and {}."""
    with WireServer(wire_server.respond_ok) as running:
        yield running


@pytest.fixture
def proxy(server: WireServer) -> Iterator[FaultProxy]:
    """A proxy in front of the server; it leaves no thread behind."""
    before = set(threading.enumerate())
    with FaultProxy(server.origin) as running:
        yield running
    assert set(threading.enumerate()) <= before | set(server._threads)


@pytest.fixture
def http(proxy: FaultProxy) -> Iterator[httpx.Client]:
    """A client of the proxy with a timeout of 2 s."""
    with httpx.Client(base_url=proxy.url, trust_env=False, timeout=2.0) as running:
        yield running


def test_without_a_plan_requests_are_forwarded(
    server: WireServer, proxy: FaultProxy, http: httpx.Client
) -> None:
    """Without a plan all requests are forwarded unchanged, over one connection."""
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
def test_faults_without_a_complete_response(
    server: WireServer,
    proxy: FaultProxy,
    http: httpx.Client,
    fault: Fault,
    error: type[Exception],
    *,
    arrives: bool,
) -> None:
    """The connection is cut, reset or hangs, with the request applied or not."""
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
def test_responses_that_are_not_the_instances(
    server: WireServer,
    proxy: FaultProxy,
    http: httpx.Client,
    fault: Fault,
    status: int,
    *,
    arrives: bool,
) -> None:
    """The response is a gateway's or the server limit's, with the request applied or not."""
    proxy.plan = every(1, fault)
    response = http.post(OBSERVE, json=BODY)
    assert response.status_code == status
    assert response.headers["connection"] == "close"
    assert (response.text == "Service Unavailable") == (fault is Fault.LIMIT_503)
    assert len(server.requests) == arrives


def test_cut_before_refuses_the_next_connection(
    server: WireServer, proxy: FaultProxy, http: httpx.Client
) -> None:
    """After the response connections are refused for a while."""
    proxy.plan = every(1, Fault.CUT_BEFORE)
    proxy.refuse_for = 2.0
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


def test_refusing_refuses_and_closes_connections(proxy: FaultProxy, http: httpx.Client) -> None:
    """In a `refusing` block, connections are refused and idle ones are closed."""
    assert http.post(OBSERVE, json=BODY).status_code == 200
    with proxy.refusing():
        with pytest.raises(httpx.ConnectError):
            http.post(OBSERVE, json=BODY)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port))
    assert http.post(OBSERVE, json=BODY).status_code == 200


def test_release_forwards_hanging_requests(
    server: WireServer, proxy: FaultProxy, http: httpx.Client
) -> None:
    """A hanging request is forwarded when it is released, even if its caller has gone."""
    proxy.plan = every(1, Fault.HANG)
    with pytest.raises(httpx.ReadTimeout):
        http.post(OBSERVE, json=BODY)
    assert server.requests == []
    with pytest.raises(TimeoutError):
        proxy.wait_idle(0.05)
    proxy.release()
    proxy.wait_idle()
    assert len(server.requests) == 1


def test_hang_for_releases_in_time(proxy: FaultProxy, http: httpx.Client) -> None:
    """A caller that waits longer than `hang_for` gets its response."""
    proxy.plan = every(1, Fault.HANG, Fault.HANG_APPLIED)
    proxy.hang_for = 0.1
    assert [http.post(OBSERVE, json=BODY).status_code for _ in range(2)] == [200, 200]


def test_an_instance_that_refuses_is_a_reset() -> None:
    """If the instance refuses, the caller's connection is reset: its request was read."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with FaultProxy(url) as proxy, pytest.raises(httpx.ReadError):
        httpx.post(f"{proxy.url}{OBSERVE}", json=BODY, trust_env=False)


def test_parallel_connections(server: WireServer, proxy: FaultProxy) -> None:
    """Parallel connections do not affect each other."""
    with (
        httpx.Client(base_url=proxy.url, trust_env=False) as http,
        ThreadPoolExecutor(8) as pool,
    ):
        calls = pool.map(lambda _: http.post(OBSERVE, json=BODY).status_code, range(80))
        assert set(calls) == {200}
    assert proxy.requests == len(server.requests) == 80


def test_plans_every_and_at_random() -> None:
    """`every` hits each n-th matching request, `at_random` a fraction, repeatable by seed."""
    plan = every(3, Fault.HANG, Fault.LIMIT_503)
    planned = [plan("POST", OBSERVE) for _ in range(12)]
    assert planned == [None, None, Fault.HANG, None, None, Fault.LIMIT_503] * 2
    assert plan("GET", OBSERVE) is None
    assert is_observation("POST", OBSERVE)
    assert not is_observation("POST", f"{OBSERVE}-sequence")
    one, other = (
        at_random(0.1, *Fault, rng=random.Random(5), matching=any_request) for _ in range(2)
    )
    planned = [one("GET", "/") for _ in range(1_000)]
    assert planned == [other("GET", "/") for _ in range(1_000)]
    assert 50 < sum(fault is not None for fault in planned) < 150


def test_a_target_without_host_and_port_is_refused() -> None:
    """A target without host and port raises ValueError."""
    with pytest.raises(ValueError, match="http://host:port"):
        FaultProxy("127.0.0.1:8000")
