"""Free ports for programs that cannot bind port 0 and report the port they got.

Another process may bind the port before the program does, so the choice is best effort. The port
is outside the range that the kernel uses for outgoing connections, and the search starts at a
random port, so that two test runs rarely collide. The caller still has to check that the program
got its port.
"""

import contextlib
import secrets
import socket
from pathlib import Path

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000  # below are well-known services, Consul's 8300-8600 and KATO's 8000s
DEFAULT_CEILING = 32_768  # Linux's default start; the BSDs and macOS start at 49,152 (RFC 6335)
HIGHEST = 65_536  # exclusive
ENOUGH = 1_000  # ports between LOWEST and the ephemeral range that make it worth staying below


def free_ports(n: int) -> list[int]:
    """Return `n` distinct ports of 127.0.0.1 that are free for TCP and for UDP.

    Raises RuntimeError if there are fewer.
    """
    candidates = port_range(ephemeral_range())
    start = secrets.randbelow(len(candidates))  # not `random`: test runs seed it alike
    ports: list[int] = []
    with contextlib.ExitStack() as held:  # bound until all are chosen, so that they are distinct
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
