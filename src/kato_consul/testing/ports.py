"""Ports for programs that cannot be told "any free one" and say which they took.

Between choosing a port and the program's binding it anyone may take it, so choosing is best
effort: the port is outside the range from which the kernel gives ports to outgoing connections,
and the search starts at a random place, so that two test runs rarely meet. Whoever starts the
program still has to look whether it got its port.
"""

import contextlib
import secrets
import socket
from pathlib import Path

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000  # below live the well-known services, Consul's own 8300-8600 and KATO's 8000s
DEFAULT_CEILING = 32_768  # Linux's default start; the BSDs and macOS start at 49,152 (RFC 6335)
HIGHEST = 65_536  # exclusive
ENOUGH = 1_000  # ports between LOWEST and the ephemeral range that make it worth staying below


def free_ports(n: int) -> list[int]:
    """Return `n` distinct ports of 127.0.0.1, free for TCP and for UDP.

    RuntimeError when there are not that many.
    """
    candidates = port_range(ephemeral_range())
    start = secrets.randbelow(len(candidates))  # not `random`: tests seed that, alike
    ports: list[int] = []
    with contextlib.ExitStack() as held:  # held until all are chosen: that makes them distinct
        for step in range(len(candidates)):
            if len(ports) == n:
                break
            port = candidates[(start + step) % len(candidates)]
            if _hold(port, held):
                ports.append(port)
    if len(ports) < n:
        raise RuntimeError(
            f"only {len(ports)} of {n} ports are free on {HOST} between {candidates.start} and "
            f"{candidates.stop - 1}; end some of the programs that listen there"
        )
    return ports


def ephemeral_range() -> tuple[int, int]:
    """Return the kernel's first and last port for outgoing connections; a guess off Linux."""
    try:
        low, high = EPHEMERAL.read_text().split()
    except FileNotFoundError:
        return DEFAULT_CEILING, HIGHEST - 1
    return int(low), int(high)


def port_range(ephemeral: tuple[int, int]) -> range:
    """Return the ports to choose from: below the ephemeral range, else above it, else any."""
    low, high = ephemeral
    if low - LOWEST >= ENOUGH:
        return range(LOWEST, low)
    if HIGHEST - (high + 1) >= ENOUGH:
        return range(high + 1, HIGHEST)
    return range(LOWEST, HIGHEST)


def _hold(port: int, held: contextlib.ExitStack) -> bool:
    """Bind `port` for TCP and UDP until `held` closes; False when either is taken."""
    with contextlib.ExitStack() as pair:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            holder = pair.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                holder.bind((HOST, port))
            except OSError:
                return False
        held.push(pair.pop_all())
    return True
