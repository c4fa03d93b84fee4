"""What an outcome proves. Three verdicts, and no guessing:

* ``NOT_SENT``: the application provably did nothing with the request; another instance may have it.
* ``ANSWERED``: it is done, well or badly, and the answer says which.
* ``UNKNOWN``: it may have been applied.

| outcome                                            | verdict  | because                      |
| -------------------------------------------------- | -------- | ---------------------------- |
| failure before the first byte left                 | NOT_SENT | the engine says so, on fact  |
| 503 of the server's own concurrency limit          | NOT_SENT | it is sent before the app    |
| 429                                                | NOT_SENT | it means refused (RFC 6585)  |
| failure after that: timeout, reset, half an answer | UNKNOWN  | the server may go on alone   |
| 500 and above otherwise                            | UNKNOWN  | the app may have saved first |
| anything else                                      | ANSWERED | the app says so itself       |

And what it says of the instance, for those who ask next:

| outcome                              | sign     | because                                      |
| ------------------------------------ | -------- | -------------------------------------------- |
| nothing left; silent until a timeout | `DOWN`   | one is enough: nobody else would fare better |
| cut, half an answer; 502, 503, 504   | `AILING` | it happens to the best now and then          |
| 429, or 503 of the concurrency limit | `BUSY`   | it works, on others' requests                |
| any other 500                        | `BUSY`   | the application failed at this one request   |
| answered                             | `WELL`   |                                              |
"""

from email.utils import parsedate_to_datetime
from enum import Enum, auto

from kato_consul._flow import Cause, Failure, Outcome, Reply

LIMIT_BODY = b"Service Unavailable"
"""What uvicorn says when it is asked too much at once."""


class Delivery(Enum):
    """What an outcome proves about the request."""

    NOT_SENT = auto()
    ANSWERED = auto()
    UNKNOWN = auto()


class InstanceSignal(Enum):
    """What an outcome says about the instance. `BUSY` says nothing for it, and nothing against."""

    HEALTHY = auto()
    BUSY = auto()
    DEGRADED = auto()
    DOWN = auto()


def classify(outcome: Outcome) -> Delivery:
    """The verdict on one outcome: the first table above."""
    if isinstance(outcome, Failure):
        return Delivery.UNKNOWN if outcome.bytes_sent else Delivery.NOT_SENT
    if outcome.status < 429:  # nearly all of them
        return Delivery.ANSWERED
    if outcome.status == 429 or is_concurrency_limit(outcome):
        return Delivery.NOT_SENT
    return Delivery.UNKNOWN if outcome.status >= 500 else Delivery.ANSWERED


def instance_signal(outcome: Outcome) -> InstanceSignal:
    """What the outcome says about the instance: the second table."""
    if isinstance(outcome, Failure):
        silent = not outcome.bytes_sent or outcome.cause is Cause.TIMEOUT
        return InstanceSignal.DOWN if silent else InstanceSignal.DEGRADED
    if outcome.status < 429:
        return InstanceSignal.HEALTHY
    if outcome.status in (502, 503, 504) and not is_concurrency_limit(outcome):
        return InstanceSignal.DEGRADED
    return (
        InstanceSignal.BUSY
        if outcome.status == 429 or outcome.status >= 500
        else InstanceSignal.HEALTHY
    )


def is_concurrency_limit(reply: Reply) -> bool:
    """Is this uvicorn's own 503, answered in the application's place when too many are in flight?

    Its shape is fixed (uvicorn, ``service_unavailable``): plain text, closing, these 19 bytes. Any
    other 503 comes from the application or a proxy, of which nothing is known.
    """
    return (
        reply.status == 503
        and reply.body == LIMIT_BODY
        and reply.headers.get("content-type", "").startswith("text/plain")
        and reply.headers.get("connection", "").lower() == "close"
    )


def retry_after(outcome: Outcome) -> float:
    """Seconds after which the server wants to be asked again, by a 429 or 503; 0 when it says
    nothing. A date counts from the answer's own ``Date`` (RFC 9110, 10.2.3)."""
    if not isinstance(outcome, Reply) or outcome.status not in (429, 503):
        return 0.0
    text = outcome.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        return max(0.0, (then - parsedate_to_datetime(outcome.headers["date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0.0
