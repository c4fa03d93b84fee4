"""Which request meets which fault.

| fault                  | the instance gets it | the caller gets                                 |
| ---------------------- | -------------------- | ----------------------------------------------- |
| ``CUT_BEFORE``         | yes, and answers     | the answer; then, for a moment, nobody listens  |
| ``CUT_REQUEST``        | no                   | the connection closed without a word            |
| ``CUT_APPLIED``        | yes                  | the connection reset                            |
| ``HALF_ANSWER``        | yes                  | the head and half the body, then the end        |
| ``HANG``               | when it is released  | silence until then                              |
| ``HANG_APPLIED``       | yes                  | silence until it is released                    |
| ``LIMIT_503``          | no                   | what uvicorn says beyond its concurrency limit  |
| ``STATUS_502``         | no                   | what a gateway says that could not connect      |
| ``STATUS_502_APPLIED`` | yes                  | the same: the connection broke after the answer |
| ``STATUS_504``         | no                   | what a gateway says that waited too long        |
| ``STATUS_504_APPLIED`` | yes                  | the same                                        |

Of a request that it has read, a proxy cannot say any more that it never left. A connection that is
refused is the one thing that proves it, so ``CUT_BEFORE`` strikes whoever connects next: the port
is closed before the answer goes out, and idle connections with it.
"""

import itertools
import random
from collections.abc import Callable
from enum import StrEnum


class Fault(StrEnum):
    """What happens to one request."""

    CUT_BEFORE = "connections refused"
    CUT_REQUEST = "cut before the server read it"
    CUT_APPLIED = "applied, then reset"
    HALF_ANSWER = "applied, answer cut in half"
    HANG = "silence; forwarded when released"
    HANG_APPLIED = "applied, then silence"
    LIMIT_503 = "503 of the server's own limit"
    STATUS_502 = "502, not applied"
    STATUS_502_APPLIED = "502, applied"
    STATUS_504 = "504, not applied"
    STATUS_504_APPLIED = "504, applied"


Plan = Callable[[str, str], Fault | None]
"""Asked for each request, by method and path, in the proxy's thread."""

Match = Callable[[str, str], bool]


def observes(method: str, path: str) -> bool:
    """Is it an observation? What faults strike unless told otherwise."""
    return method == "POST" and path.endswith("/observe")


def anything(method: str, path: str) -> bool:
    """Any request."""
    return True


def every(nth: int, *faults: Fault, matching: Match = observes) -> Plan:
    """Each ``nth`` matching request meets a fault; of several, the next one each time."""
    number = itertools.count(1)
    turn = itertools.cycle(faults)

    def plan(method: str, path: str) -> Fault | None:
        return next(turn) if matching(method, path) and next(number) % nth == 0 else None

    return plan


def at_random(
    rate: float, *faults: Fault, chance: random.Random, matching: Match = observes
) -> Plan:
    """A matching request meets one of the faults with probability ``rate``."""

    def plan(method: str, path: str) -> Fault | None:
        return chance.choice(faults) if matching(method, path) and chance.random() < rate else None

    return plan


def no_fault(method: str, path: str) -> Fault | None:
    """The plan under which all is well."""
    return None
