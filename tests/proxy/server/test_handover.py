"""Handover of listening sockets: the meeting point of two proxies, and a process without files."""

import asyncio
import contextlib
import resource
import socket
import tempfile
from collections.abc import Iterator
from functools import cached_property

import pytest

from kato_consul import Settings
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server import handover
from kato_consul.proxy.server.handover import Handover, find_proxy
from kato_consul.proxy.server.identity import Identity
from kato_consul.proxy.server.listen_address import MAX_PATH, ListenAddress
from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.serving import ENDS_WITHIN, serving

TURNS = 200
"""Turns of the event loop."""


def test_longest_path() -> None:
    """A proxy whose unix socket has it can be replaced."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/".ljust(MAX_PATH, "s")
        with (
            serving(listen=f"unix://{path}") as first,
            serving(listen=f"unix://{path}", replace=True) as second,
        ):
            assert second.predecessor == first.process.pid
            assert first.ended() == "cut 0\n"


class CountingHandover(Handover):
    """Counts how often it is called for proxies that want to meet it."""

    calls = 0

    @cached_property
    def called(self) -> asyncio.Event:
        """Set by the first call."""
        return asyncio.Event()

    def _meet(self) -> None:
        self.calls += 1
        self.called.set()
        super()._meet()


@pytest.mark.parametrize("loop", EVENT_LOOPS)
def test_no_file_descriptor_left(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until there is one, and does not keep the event loop busy meanwhile."""
    monkeypatch.setattr(handover, "ANSWER_WITHIN", ENDS_WITHIN)
    identity = Identity.of(ServerOptions(), Settings())
    address = ListenAddress("127.0.0.1", free_ports(1)[0])

    async def meet() -> None:
        offered = CountingHandover(address, identity, [], None)
        offered.start()
        with one_descriptor():
            finding = asyncio.ensure_future(asyncio.to_thread(find_proxy, address))
            async with asyncio.timeout(ENDS_WITHIN):
                await offered.called.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert offered.calls < TURNS / 10
        running = await finding
        offered.end()
        assert running is not None
        running.connection.close()
        assert running.identity == identity

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(meet())


@contextlib.contextmanager
def one_descriptor() -> Iterator[None]:
    """Let this process open a single file during the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        only = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (only + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
