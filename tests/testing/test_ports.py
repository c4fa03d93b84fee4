"""`free_ports`: ports for programs that cannot choose their own."""

import contextlib
import socket

import pytest

from kato_consul.testing.ports import (
    HOST,
    _hold,
    ephemeral_range,
    free_ports,
    port_range,
    worker_share,
)


def test_ports_are_distinct() -> None:
    """The ports of one call are all different."""
    assert len(set(free_ports(50))) == 50


def test_ports_are_usable_for_tcp_and_udp() -> None:
    """A chosen port can be bound for TCP and for UDP, at the same time."""
    (port,) = free_ports(1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        tcp.bind((HOST, port))
        udp.bind((HOST, port))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use_is_not_chosen(kind: int) -> None:
    """A port in use for one protocol is not free, and is released for the other one."""
    (port,) = free_ports(1)
    other = socket.SOCK_DGRAM if kind == socket.SOCK_STREAM else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken, contextlib.ExitStack() as held:
        taken.bind((HOST, port))
        assert not _hold(port, held)
        with socket.socket(socket.AF_INET, other) as free:
            free.bind((HOST, port))


def test_ports_are_not_ephemeral() -> None:
    """The kernel does not use the chosen ports for outgoing connections."""
    low, high = ephemeral_range()
    if port_range((low, high)) == port_range((1024, 65535)):
        return  # this kernel uses all ports for outgoing connections
    assert all(not low <= port <= high for port in free_ports(20))


@pytest.mark.parametrize(
    ("ephemeral", "expected"),
    [
        ((32768, 60999), range(10_000, 32_768)),  # Linux
        ((49152, 65535), range(10_000, 49_152)),  # BSD, macOS
        ((10_500, 60_999), range(61_000, 65_536)),  # little room below, some above
        ((1024, 65535), range(10_000, 65_536)),  # no room anywhere else
    ],
)
def test_port_range(ephemeral: tuple[int, int], expected: range) -> None:
    """The range is below the ephemeral one if there is room, else above it, else all ports."""
    assert port_range(ephemeral) == expected


def test_calls_choose_different_ports() -> None:
    """A port that was chosen and is not bound yet is not chosen again."""
    chosen = [free_ports(1)[0] for _ in range(200)]
    assert len(set(chosen)) == len(chosen)


def test_workers_share_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of pytest-xdist use separate parts of the range; without workers it is whole."""
    ports = range(10_000, 32_768)
    shares = []
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    for number in range(4):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        shares.append(worker_share(ports))
    assert [port for share in shares for port in share] == [*ports]
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert worker_share(ports) == ports


def test_too_few_free_ports_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are not enough free ports, the error says how many there are."""
    monkeypatch.setattr("kato_consul.testing.ports._hold", lambda *_: False)
    with pytest.raises(RuntimeError, match=r"only 0 of 1 ports are free .* end some"):
        free_ports(1)
