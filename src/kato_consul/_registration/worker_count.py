"""Worker count: how many worker processes an instance has, counted over new connections.

KATO's own ``/concurrency`` reports 1 whatever its server was started with: it reads an environment
variable that KATO's image does not set (measured on KATO 3.10.1 with four workers). But each
process reports the time of its own start, as ``last_collection`` of ``/health``, and a new
connection is accepted by any of the processes. So different start times are different processes.
"""

from kato_consul._flow import Clock, Flow, Outcome, Reply, Send
from kato_consul._registration.instance_info import field_of

USUAL_CONNECTIONS = 16
"""Connections that are opened. If two processes accept them at random, both are seen except in one
count of 2**15."""

THOROUGH_CONNECTIONS = 96
"""Connections that are opened at most while only one process was seen, if time permits. A process
that has just answered is awake and accepts faster: if it accepts nine of ten, the other one is
still seen except in one count of 20,000."""

_LAST_ON_CONNECTION = {"connection": "close"}
"""Headers that end the connection after the response, so that the next request opens a new one."""


def count_workers(
    origin: str,
    answer_within: float,
    within: float,
    *,
    clock: Clock,
    max_connections: int = USUAL_CONNECTIONS,
) -> Flow[int | None]:
    """Flow: count the worker processes that answer, a lower bound of how many there are.

    Returns None if an answer has no start time, or if time was up when fewer than
    `USUAL_CONNECTIONS` had been opened and only one process had been seen: there may be others.
    ``answer_within`` is the time in seconds that each answer may take, and ``within`` the time that
    all may take; ``max_connections`` is how many connections are opened at most.
    """
    until = clock() + within
    start_times: set[float] = set()
    for number in range(max_connections):
        enough = number >= USUAL_CONNECTIONS or len(start_times) > 1
        if number >= USUAL_CONNECTIONS and len(start_times) > 1:
            break
        outcome: Outcome | None = None
        if (left := until - clock()) > 0:
            timeout = min(answer_within, left)
            outcome = yield Send(origin, "GET", "/health", timeout, _LAST_ON_CONNECTION)
        started = field_of(outcome, "last_collection") if isinstance(outcome, Reply) else None
        if not isinstance(started, int | float):
            return len(start_times) if enough and until <= clock() else None
        start_times.add(started)
    return len(start_times)
