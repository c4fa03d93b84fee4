"""Worker count: which worker processes an instance has, found over new connections.

KATO's own ``/concurrency`` reports 1 whatever its server was started with: it reads an environment
variable that KATO's image does not set (measured on KATO 3.10.1 with four workers). But each
process reports the time of its own start, as ``last_collection`` of ``/health``, and a new
connection is accepted by any of the processes. So different start times are different processes.
"""

from kato_consul._flow import Clock, Flow, Outcome, Reply, Send
from kato_consul._registration.instance_info import field_of

CONNECTIONS_PER_WORKER = 16
"""Connections that are opened for each process that was seen. If the processes accept them at
random, one of two is missed in one count of 2**15, and one of four in one of a million."""

MAX_CONNECTIONS = 96
"""Connections that are opened at most, if time permits; doctor opens as many while only one process
was seen. A process that has just answered is awake and accepts faster: if it accepts nine of ten,
the other one is still seen except in one count of 20,000."""

LAST_ON_CONNECTION = {"connection": "close"}
"""Headers that end the connection after the response, so that the next request opens a new one."""


def find_workers(
    origin: str,
    answer_within: float,
    within: float,
    *,
    clock: Clock,
    thorough: bool = False,
) -> Flow[frozenset[float] | None]:
    """Flow: find the worker processes that answer; return their start times, which identify them.

    There may be others. Returns None if an answer has no start time, or if time was up when fewer
    than `CONNECTIONS_PER_WORKER` had been opened and only one process had been seen.
    ``answer_within`` is the time in seconds that each answer may take, and ``within`` the time that
    all may take. ``thorough``: open `MAX_CONNECTIONS` while only one process was seen.
    """
    until = clock() + within
    workers: set[float] = set()
    for number in range(MAX_CONNECTIONS):
        wanted = CONNECTIONS_PER_WORKER * len(workers)
        if workers and number >= wanted and not (thorough and len(workers) == 1):
            break
        outcome: Outcome | None = None
        if (left := until - clock()) > 0:
            timeout = min(answer_within, left)
            outcome = yield Send(origin, "GET", "/health", timeout, LAST_ON_CONNECTION)
        started = start_time(outcome)
        if started is None:
            enough = number >= CONNECTIONS_PER_WORKER or len(workers) > 1
            return frozenset(workers) if enough and until <= clock() else None
        workers.add(started)
    return frozenset(workers)


def start_time(health: Outcome | None) -> float | None:
    """Return the start time of the process that answered ``/health``; None without one."""
    started = field_of(health, "last_collection") if isinstance(health, Reply) else None
    return float(started) if isinstance(started, int | float) else None
