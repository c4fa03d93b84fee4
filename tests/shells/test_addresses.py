"""Hosts with several addresses, and resolvers that do not respond, with each engine."""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kato_consul._flow import Cause, Failure, Reply
from kato_consul._http.resolver import ATTEMPT_DELAY, attempt_delay, look_up
from kato_consul._sync.driver import Driver
from kato_consul._sync.engines.connecting import _connect_first
from kato_consul.settings import Settings
from kato_consul.testing.ports import free_ports
from tests.shells import wire_server
from tests.shells.conftest import BlockingAsyncDriver, BlockingDriver
from tests.shells.test_wire import send_one
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

HOST = "kato.test"

Resolve = Callable[[], list[tuple[str, int]]]


@contextlib.contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Listen with a full queue: connections to the address are neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


@pytest.fixture
def resolve_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[Resolve], None]:
    """A function that sets what `HOST` resolves to."""
    original = socket.getaddrinfo

    def resolve_to(resolve: Resolve) -> None:
        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != HOST:
                return original(host, port, *args, **kwargs)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in resolve()]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve_to


@pytest.mark.parametrize("holes", [0, 1, 7])
@pytest.mark.parametrize("refusing", [0, 2])
def test_address_that_accepts_is_reached(
    driver: BlockingDriver,
    resolve_to: Callable[[Resolve], None],
    holes: int,
    refusing: int,
) -> None:
    """Addresses that do not answer or refuse come first; the good one is reached nevertheless."""
    with WireServer(wire_server.respond_ok) as server, contextlib.ExitStack() as stack:
        port = int(server.origin.rsplit(":", 1)[1])
        dead = [f"127.0.0.{number}" for number in range(2, 2 + holes)]
        for address in dead:
            stack.enter_context(black_hole(address, port))
        dead += [f"127.0.1.{number}" for number in range(1, 1 + refusing)]
        resolve_to(lambda: [(address, port) for address in [*dead, "127.0.0.1"]])
        for _ in range(2):
            reply = driver.run(send_one(f"http://{HOST}:{port}", timeout=30.0))
            assert isinstance(reply, Reply)
        assert len(server.requests) == 2
        assert server.connections == 1
        assert server.requests[0].lower().count(f"host: {HOST}:{port}".encode()) == 1


def test_no_address_that_accepts_counts_as_not_sent(
    driver: BlockingDriver, resolve_to: Callable[[Resolve], None]
) -> None:
    """The connect timeout ends the attempts at all addresses together."""
    (port,) = free_ports(1)
    with black_hole("127.0.0.2", port), black_hole("127.0.0.3", port):
        resolve_to(lambda: [(f"127.0.0.{number}", port) for number in (2, 3)])
        failure = driver.run(send_one(f"http://{HOST}:{port}", timeout=30.0))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)
    assert failure.error is not None


def test_all_addresses_refuse(
    driver: BlockingDriver, resolve_to: Callable[[Resolve], None]
) -> None:
    """If every address refuses, the failure has the reason."""
    (port,) = free_ports(1)
    resolve_to(lambda: [(f"127.0.0.{number}", port) for number in (1, 2, 3)])
    failure = driver.run(send_one(f"http://{HOST}:{port}"))
    assert isinstance(failure, Failure)
    assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)


class HangingResolver:
    """A resolver that does not respond until it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()
        self.returned = threading.Event()

    def resolve(self) -> list[tuple[str, int]]:
        """Wait, for 30 s at most; then there is no such host."""
        self.calls += 1
        self.released.wait(30.0)
        self.returned.set()
        raise socket.gaierror(socket.EAI_NONAME, "no such host")


@pytest.fixture
def hanging(resolve_to: Callable[[Resolve], None]) -> Iterator[HangingResolver]:
    """The resolver of `HOST`, which hangs until the test ends."""
    resolver = HangingResolver()
    resolve_to(resolver.resolve)
    yield resolver
    resolver.released.set()
    assert resolver.returned.wait(10.0)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_hanging_resolver_delays_neither_a_request_nor_a_close(
    kind: str, engine: str, hanging: HangingResolver
) -> None:
    """The request ends at the connect timeout, and the driver and its loop can be closed."""
    settings = Settings(connect_timeout=0.3, engine=engine)
    blocking: BlockingDriver = Driver(settings) if kind == "sync" else BlockingAsyncDriver(settings)
    for _ in range(3):
        failure = blocking.run(send_one(f"http://{HOST}:80", timeout=30.0))
        assert isinstance(failure, Failure)
        assert (failure.cause, failure.bytes_sent) == (Cause.CONNECT, False)
    blocking.close()
    assert not hanging.returned.is_set()
    assert hanging.calls == 1  # the later ones joined the first


def test_lookups_of_one_host_share_a_thread(hanging: HangingResolver) -> None:
    """While a lookup is in progress, the same host is not looked up again; afterwards it is."""
    lookups = [look_up(HOST, 80) for _ in range(5)]
    assert len(set(map(id, lookups))) == 1
    assert eventually(lambda: hanging.calls == 1)
    hanging.released.set()
    for lookup in lookups:
        with pytest.raises(socket.gaierror):
            lookup.result(10.0)
    with pytest.raises(socket.gaierror):
        look_up(HOST, 80).result(10.0)
    assert hanging.calls == 2


@pytest.mark.parametrize(
    ("addresses", "timeout", "delay"),
    [(1, 1.0, ATTEMPT_DELAY), (2, 1.0, 0.25), (8, 1.0, 0.0625), (4, 0.0, 0.0), (9, None, 0.25)],
)
def test_delay_lets_each_address_be_tried(
    addresses: int, timeout: float | None, delay: float
) -> None:
    """All addresses are tried in half of the time, so that the last one can answer."""
    assert attempt_delay(addresses, timeout) == delay


class WithoutIPv6(socket.socket):
    """The sockets of a kernel that was started without IPv6."""

    def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *args, **kwargs)


def test_address_of_a_family_that_the_kernel_lacks_is_a_failed_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name may resolve to ::1 and 127.0.0.1 all the same."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as server:
        address = server.getsockname()
        monkeypatch.setattr(socket, "socket", WithoutIPv6)
        addresses: list[Any] = [
            (socket.AF_INET6, ("::1", address[1], 0, 0)),
            (socket.AF_INET, address),
        ]
        with _connect_first(addresses, time.monotonic() + 30.0) as connected:
            assert connected.getpeername() == address
