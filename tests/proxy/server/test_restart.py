"""Rolling restarts under load: callers without retries see nothing of them."""

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from kato_consul.proxy.server.handover import find_proxy
from kato_consul.proxy.server.listen_address import ListenAddress
from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.application import STARTS
from tests.proxy.server.serving import CONNECTIONS, Answer, Callers, Server, serving, started
from tests.testing.waiting import eventually

CALLERS = 12
RESTARTS = 2

ANSWERS = 100
"""Answers between two steps of a restart, so that requests are in hand at each."""


@pytest.mark.parametrize(("loop", "workers"), [*zip(EVENT_LOOPS, (1, 2), strict=True)])
def test_no_request_is_lost(loop: str, workers: int) -> None:
    """Each server takes over the listening sockets of the one before, and ends it."""
    loop_factory(loop)  # skips if it is not installed
    env = {"TEST_LOOP": loop}
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(serving(workers=workers, env=env))
        callers = Callers(server.port)
        with callers.calling(CALLERS):
            for _ in range(RESTARTS):
                wait_for_answers(callers)
                successor = serving(port=server.port, workers=workers, replace=True, env=env)
                server, before = servers.enter_context(successor), server
                assert server.predecessor == before.process.pid
                assert before.ended() == "cut 0\n"
                assert before.process.returncode == 0
            wait_for_answers(callers)
        assert callers.failures == []


def test_sockets_are_taken_over() -> None:
    """A successor has the listening sockets themselves, with any number of workers."""
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(serving(workers=2))
        listening = listening_sockets(first)
        assert len(listening) == 2
        second = servers.enter_context(serving(port=first.port, share_port=True))
        assert second.predecessor == first.process.pid
        assert listening_sockets(second) == listening
        assert first.end() == "cut 0\n"
        third = servers.enter_context(serving(port=first.port, workers=3, share_port=True))
        second.end()
        assert listening_sockets(third) > listening
        assert len(listening_sockets(third)) == 3
        assert third.get("/echo").status == 200


def test_address_that_a_proxy_serves() -> None:
    """Without an option it is an error, which names the process; the other one serves on."""
    with serving(workers=2) as first:
        with started(port=first.port) as second:
            printed = second.ended()
            assert second.process.returncode == 2
        assert printed == (
            f"ConfigurationError: --listen 127.0.0.1:{first.port} cannot be used: it is served by "
            f"kato-consul proxy, process {first.process.pid}: --replace takes its place without a "
            f"failed request\n"
        )
        assert first.get("/echo").status == 200


@pytest.mark.parametrize("option", ["replace", "share_port"])
def test_nothing_to_replace(option: str) -> None:
    """A proxy that is not there is no error, and the next one finds this one."""
    given: dict[str, Any] = {option: True}
    with serving(**given) as first:
        assert first.predecessor is None
        with serving(port=first.port, replace=True) as second:
            assert second.predecessor == first.process.pid
            assert first.ended() == "cut 0\n"


@pytest.mark.parametrize("option", ["replace", "share_port"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prefix": "/kato"}, "serves below /, and this one below /kato"),
        ({"settings": {"service": "other"}}, "serves the service kato, and this one other"),
        ({"settings": {"tags": ["blue"]}}, "may use other instances than this one"),
        (
            {"settings": {"session_directory": "redis://:secret@127.0.0.1:1/0"}},
            "has another session directory than this one",
        ),
    ],
)
def test_other_service(option: str, given: dict[str, Any], message: str) -> None:
    """What serves something else is neither replaced nor joined."""
    with serving() as first:
        with started(port=first.port, **{**given, option: True}) as second:
            printed = second.ended()
            assert second.process.returncode == 2
        assert f"process {first.process.pid}, which serves 127.0.0.1:{first.port}, " in printed
        assert message in printed
        assert "secret" not in printed
        assert first.get("/echo").status == 200


@pytest.mark.parametrize("option", ["replace", "share_port", None])
@pytest.mark.parametrize("said", ['{"service": "kato", "prefix": ""}', "no JSON"])
def test_other_version(option: str | None, said: str) -> None:
    """A proxy that says something else of itself than this version does is left alone."""
    given: dict[str, Any] = {option: True} if option else {}
    with serving(env={"TEST_IDENTITY": said}) as first:
        with started(port=first.port, **given) as second:
            printed = second.ended()
            assert second.process.returncode == 2
        assert f"process {first.process.pid}, " in printed
        assert "another version of kato-consul" in printed
        assert "or choose another port" in printed
        assert first.get("/echo").status == 200


def test_settings_that_are_written_otherwise() -> None:
    """The same Consul and the same Redis are no difference."""
    first_settings = {
        "consul_addr": "127.0.0.1:8500",
        "session_directory": "redis://:secret@127.0.0.1:1/2",
    }
    second_settings = {
        "consul_addr": "http://127.0.0.1:8500",
        "session_directory": "redis://:changed@127.0.0.1:1?db=2",
    }
    with (
        serving(settings=first_settings) as first,
        serving(port=first.port, settings=second_settings, replace=True) as second,
    ):
        assert second.predecessor == first.process.pid
        assert first.ended() == "cut 0\n"


def test_successor_that_does_not_come_to_serve() -> None:
    """The proxy that it was to replace goes on, and can be replaced."""
    with serving() as first:
        with started("unstartable", port=first.port, replace=True) as second:
            assert "this application cannot be opened" in second.ended()
        assert first.get("/echo").status == 200
        with serving(port=first.port, replace=True) as third:
            assert first.ended() == "cut 0\n"
            assert third.get("/echo").status == 200


@pytest.mark.parametrize("killed", [False, True])
def test_two_that_replace(killed: bool, tmp_path: Path) -> None:
    """While one takes the place of a proxy, another one is refused; when it does not come to serve,
    the next one is not."""
    env = {STARTS: str(tmp_path)}
    with (
        serving() as first,
        started("opened_by_some", port=first.port, replace=True, env=env) as second,
    ):
        assert eventually((tmp_path / "go.begun").exists)
        with started(port=first.port, replace=True) as refused:
            assert refused.ended() == (
                f"ConfigurationError: --replace: process {first.process.pid}, which serves "
                f"127.0.0.1:{first.port}, is just being replaced by process "
                f"{second.process.pid}: repeat the command when that one serves, or end it first\n"
            )
            assert refused.process.returncode == 2
        with serving(port=first.port, share_port=True) as beside:
            assert beside.predecessor == first.process.pid
        if killed:
            second.process.kill()
        else:
            (tmp_path / "go").touch()
        second.ended()
        with serving(port=first.port, replace=True) as third:
            assert first.ended() == "cut 0\n"
            assert third.get("/echo").status == 200


def test_successor_whose_workers_do_not_all_start(tmp_path: Path) -> None:
    """Connections that arrive while it starts are served by the proxy that goes on, also if it has
    fewer listening sockets."""
    (tmp_path / "place").touch()
    with (
        serving() as first,
        started(
            "opened_by_some", port=first.port, workers=3, replace=True, env={STARTS: str(tmp_path)}
        ) as second,
    ):
        assert eventually((tmp_path / "go.begun").exists)
        connections = [first.connection() for _ in range(CONNECTIONS)]
        for one in connections:
            one.connect()
        (tmp_path / "go").touch()
        assert "this application cannot be opened" in second.ended()
        for one in connections:
            one.request("GET", "/echo")
            assert Answer.read(one).json["pid"] == first.process.pid
            one.close()


def test_proxy_that_does_not_answer() -> None:
    """One that is stopped gives no sockets: it is not replaced, and its port can be shared."""
    with serving(drain=0) as first:
        first.process.send_signal(signal.SIGSTOP)
        try:
            with started(port=first.port, replace=True) as second:
                named = f"process {first.process.pid}, which does not answer: end it"
                assert named in second.ended()
            with serving(port=first.port, share_port=True) as third:
                assert third.predecessor is None
        finally:
            first.process.send_signal(signal.SIGCONT)


def test_program_that_is_no_proxy() -> None:
    """With --replace the error says that nothing can be taken over."""
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", port)), started(port=port, replace=True) as server:
        assert "what listens there does not hand over its sockets" in server.ended()
        assert server.process.returncode == 2


def test_three_share_a_port() -> None:
    """When one ends, another one of the two that are left can be found, and so on."""
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(serving())
        others = [
            servers.enter_context(serving(port=first.port, share_port=True)) for _ in range(2)
        ]
        assert {one.predecessor for one in others} == {first.process.pid}
        first.end()
        address = ListenAddress("127.0.0.1", first.port)
        left = {one.process.pid: one for one in others}
        while left:
            assert eventually(lambda: offering(address) in left)
            left.pop(offering(address)).end()


def offering(address: ListenAddress) -> int:
    """Return the process that offers the sockets of an address, 0 if there is none."""
    found = find_proxy(address)
    if found is None:
        return 0
    found.connection.close()
    return found.pid


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
