"""Rolling restarts under load: callers without retries see nothing of them."""

import contextlib
from pathlib import Path

import pytest

from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.serving import Callers, Server, serving
from tests.testing.waiting import eventually

CALLERS = 12
RESTARTS = 2

ANSWERS = 100
"""Answers between two steps of a restart, so that requests are in hand at each."""


@pytest.mark.parametrize(("loop", "workers"), [*zip(EVENT_LOOPS, (1, 2), strict=True)])
def test_no_request_is_lost(loop: str, workers: int) -> None:
    """Each server starts before the one before it ends, and takes over its listening sockets."""
    loop_factory(loop)  # skips if it is not installed
    env = {"TEST_LOOP": loop}
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(serving(workers=workers, env=env))
        callers = Callers(server.port)
        with callers.calling(CALLERS):
            for _ in range(RESTARTS):
                wait_for_answers(callers)
                successor = serving(port=server.port, workers=workers, env=env)
                server, before = servers.enter_context(successor), server
                wait_for_answers(callers)
                assert before.end() == "cut 0\n"
                assert before.process.returncode == 0
            wait_for_answers(callers)
        assert callers.failures == []


def test_sockets_are_taken_over() -> None:
    """A successor has the listening sockets themselves, with any number of workers."""
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(serving(workers=2))
        listening = listening_sockets(first)
        assert len(listening) == 2
        second = servers.enter_context(serving(port=first.port))
        assert second.predecessor == first.process.pid
        assert listening_sockets(second) == listening
        first.end()
        third = servers.enter_context(serving(port=first.port, workers=3))
        second.end()
        assert listening_sockets(third) > listening
        assert len(listening_sockets(third)) == 3
        assert third.get("/echo").status == 200


def listening_sockets(server: Server) -> set[str]:
    """Return the inodes of the sockets that listen on the port and that the process has open."""
    own = set()
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            own.add(str(descriptor.readlink()))
    listening = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        is_port = int(fields[1].rpartition(":")[2], 16) == server.port
        if is_port and fields[3] == "0A":  # TCP_LISTEN
            listening.add(f"socket:[{fields[9]}]")
    return own & listening


def wait_for_answers(callers: Callers) -> None:
    """Wait until so many more requests were answered."""
    until = callers.answered + ANSWERS
    assert eventually(lambda: callers.answered >= until), callers.failures
