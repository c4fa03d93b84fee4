"""How many worker processes an instance has, found out by asking again and again.

KATO's own ``/concurrency`` says 1 whatever its server was started with: it reads an environment
variable that KATO's image does not set (measured on KATO 3.10.1 with four). But each process tells
the moment of its own start, as ``last_collection`` of ``/health``, and a new connection goes to
whichever of them takes it first. So different moments are different processes.
"""

from kato_consul._flow import Flow, Outcome, Reply, Send
from kato_consul._registration.instance_info import field_of

USUAL = 16
"""Connections that are made. If two processes took them by chance alone, both would be seen but for
one time in 2**15."""

THOROUGH = 96
"""The same, up to so many while only one process was seen, for who has the time. One that has just
answered is awake, and is quicker: if it takes nine of ten, the other is still seen but for one time
in 20,000."""

ANEW = {"connection": "close"}
"""Of a request that is the last on its connection, so that the next one is made anew."""


def count_workers(origin: str, answer_within: float, *, most: int = USUAL) -> Flow[int | None]:
    """Flow: how many were seen, which is how many there are at least; None when it does not tell.

    ``answer_within`` are the seconds that each answer may take; ``most`` the connections.
    """
    seen: set[float] = set()
    for number in range(most):
        if number >= USUAL and len(seen) > 1:
            break
        outcome: Outcome = yield Send(origin, "GET", "/health", answer_within, ANEW)
        started = field_of(outcome, "last_collection") if isinstance(outcome, Reply) else None
        if not isinstance(started, int | float):
            return None
        seen.add(started)
    return len(seen)
