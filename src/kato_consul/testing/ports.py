"""Free ports for programs that cannot bind port 0 and report the port they got.

Another process may bind the port before the program does, so the choice is best effort. The port
is outside the range that the kernel uses for outgoing connections. The search starts at a random
port, so that two test runs rarely collide, and each call continues where the last one ended, so
that a process does not choose a port twice before it has chosen all others. With pytest-xdist each
worker, and each program that it starts, searches only the worker's share of the range. The caller
still has to check that the program got its port.
"""

import contextlib
import os
import secrets
import socket
import threading
from pathlib import Path

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000  # below are well-known services, Consul's 8300-8600 and KATO's 8000s
DEFAULT_CEILING = 32_768  # Linux's default start; the BSDs and macOS start at 49,152 (RFC 6335)
HIGHEST = 65_536  # exclusive
ENOUGH = 1_000  # ports between LOWEST and the ephemeral range that make it worth staying below


class _Search:
    """Position of this process's search; a lock, since threads share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.position = secrets.randbelow(HIGHEST)  # not `random`: test runs seed it alike


_search = _Search()


def _after_fork() -> None:
    global _search
    _search = _Search()


os.register_at_fork(after_in_child=_after_fork)


def free_ports(n: int) -> list[int]:
    """Return `n` distinct ports of 127.0.0.1 that are free for TCP and for UDP.

    Raises RuntimeError if there are fewer.
    """
    candidates = worker_share(port_range(ephemeral_range()))
    ports: list[int] = []
    # Bound until all are chosen, so that they are distinct.
    with _search.lock, contextlib.ExitStack() as held:
        for _ in range(len(candidates)):
            if len(ports) == n:
                break
            port = candidates[_search.position % len(candidates)]
            _search.position += 1
            if _hold(port, held):
                ports.append(port)
    if len(ports) < n:
        raise RuntimeError(
            f"only {len(ports)} of {n} ports are free on {HOST} between {candidates.start} and "
            f"{candidates.stop - 1}; end some of the programs that listen there"
        )
    return ports


def ephemeral_range() -> tuple[int, int]:
    """Return the kernel's first and last port for outgoing connections; a default off Linux."""
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


def worker_share(ports: range) -> range:
    """Return the part of ``ports`` that this pytest-xdist worker may use; without one, all."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "")
    if not (worker.isdecimal() and workers.isdecimal()):
        return ports
    size, number = len(ports) // int(workers), int(worker) % int(workers)
    return ports[number * size :][:size]


def _hold(port: int, held: contextlib.ExitStack) -> bool:
    """Bind `port` for TCP and UDP until `held` closes; return False if either is in use."""
    with contextlib.ExitStack() as pair:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            holder = pair.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                holder.bind((HOST, port))
            except OSError:
                return False
        held.push(pair.pop_all())
    return True
