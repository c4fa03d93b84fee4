"""Fault plan: which request is hit by which fault.

| fault                  | the instance gets it | the caller gets                                  |
| ---------------------- | -------------------- | ------------------------------------------------ |
| ``CUT_BEFORE``         | yes, and responds    | the response; then connections are refused       |
| ``CUT_REQUEST``        | no                   | the connection closed without a response         |
| ``CUT_APPLIED``        | yes                  | the connection reset                             |
| ``HALF_ANSWER``        | yes                  | the head and half the body, then the end         |
| ``HANG``               | once released        | nothing until then                               |
| ``HANG_APPLIED``       | yes                  | nothing until released                           |
| ``LIMIT_503``          | no                   | uvicorn's response beyond its concurrency limit  |
| ``STATUS_502``         | no                   | a gateway's response when it cannot connect      |
| ``STATUS_502_APPLIED`` | yes                  | the same, after the instance has responded       |
| ``STATUS_504``         | no                   | a gateway's response when its timeout has passed |
| ``STATUS_504_APPLIED`` | yes                  | the same                                         |

Once a proxy has read a request, the caller cannot exclude that it was processed. Only a refused
connection proves that it was not sent. ``CUT_BEFORE`` therefore hits the next caller that connects:
the proxy closes its port and its idle connections before it returns the response.
"""

import itertools
import random
from collections.abc import Callable
from enum import StrEnum


class Fault(StrEnum):
    """A fault that `FaultProxy` injects into one request.

    Not `kato_consul.errors.Fault`, which is what has to change before a failed call can succeed.
    """

    CUT_BEFORE = "connections refused"
    CUT_REQUEST = "cut before the server read it"
    CUT_APPLIED = "applied, then reset"
    HALF_ANSWER = "applied, response cut in half"
    HANG = "hang; forwarded when released"
    HANG_APPLIED = "applied, then hang"
    LIMIT_503 = "503 of the server's limit"
    STATUS_502 = "502, not applied"
    STATUS_502_APPLIED = "502, applied"
    STATUS_504 = "504, not applied"
    STATUS_504_APPLIED = "504, applied"


Plan = Callable[[str, str], Fault | None]
"""Called with method and path of each request, in the proxy's thread; None: no fault."""

Match = Callable[[str, str], bool]


def is_observation(method: str, path: str) -> bool:
    """Return whether the request is an observation. Plans match only those by default."""
    return method == "POST" and path.endswith("/observe")


def any_request(method: str, path: str) -> bool:
    """Return True: match every request."""
    return True


def every(nth: int, *faults: Fault, matching: Match = is_observation) -> Plan:
    """Return a plan that injects a fault into each ``nth`` matching request.

    Args:
        nth: 1 or more; 1 means every matching request.
        faults: injected in turn.
        matching: called with method and path; only requests for which it returns True count.
    """
    number = itertools.count(1)
    next_fault = itertools.cycle(faults)

    def plan(method: str, path: str) -> Fault | None:
        return next(next_fault) if matching(method, path) and next(number) % nth == 0 else None

    return plan


def at_random(
    rate: float, *faults: Fault, rng: random.Random, matching: Match = is_observation
) -> Plan:
    """Return a plan that injects a random fault into matching requests.

    Args:
        rate: probability of a fault per matching request, 0 to 1.
        faults: one of them is chosen at random, all equally likely.
        rng: the source of random numbers; seed it to repeat a run.
        matching: called with method and path; only requests for which it returns True count.
    """

    def plan(method: str, path: str) -> Fault | None:
        return rng.choice(faults) if matching(method, path) and rng.random() < rate else None

    return plan


def no_fault(method: str, path: str) -> Fault | None:
    """The plan without faults."""
    return None
