"""Classification of outcomes: what an outcome proves about the request and about the instance.

About the request (`Delivery`):

* ``NOT_SENT``: the application provably did not process it; another instance may get it.
* ``ANSWERED``: the application processed it. The reply has the result.
* ``UNKNOWN``: it may have been applied.

| outcome                                           | delivery | reason                        |
| ------------------------------------------------- | -------- | ----------------------------- |
| failure before the first byte was sent            | NOT_SENT | the engine reports it as fact |
| 503 of the server's own concurrency limit         | NOT_SENT | sent before the app is called |
| 421, 425, 429                                     | NOT_SENT | they mean refused (RFC 9110,  |
|                                                   |          | 8470, 6585)                   |
| 408                                               | UNKNOWN  | a proxy that waited in vain   |
|                                                   |          | may have forwarded it         |
| failure after that: timeout, reset, partial reply | UNKNOWN  | the server may still process  |
| 500 and above otherwise                           | UNKNOWN  | the app may have saved first  |
| anything else                                     | ANSWERED | the app itself returned it    |

About the instance (`InstanceSignal`):

| outcome                              | signal     | reason                                     |
| ------------------------------------ | ---------- | ------------------------------------------ |
| nothing was sent; no reply in time   | `DOWN`     | other requests would most likely fail, too |
| the client was closed                | `BUSY`     | it reveals nothing of the instance         |
| cut, partial reply; 502, 503, 504    | `DEGRADED` | a healthy instance does it now and then    |
| 429, or 503 of the concurrency limit | `BUSY`     | it works, on other requests                |
| 408, 421, 425                        | `BUSY`     | most likely a proxy's                      |
| any other 5xx                        | `BUSY`     | the application failed on this one request |
| any other reply                      | `HEALTHY`  |                                            |
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from kato_consul import _backoff
from kato_consul._flow import Cause, Failure, Outcome, Reply

REFUSED = frozenset({421, 425, 429})
"""Statuses of a request that was refused without being processed: misdirected, too early, too many.
Another instance, or the same one later, may serve it."""

LIMIT_BODY = b"Service Unavailable"
"""The body of uvicorn's 503 when its concurrency limit is reached."""


class Delivery(Enum):
    """What an outcome proves about the request."""

    NOT_SENT = auto()
    ANSWERED = auto()
    UNKNOWN = auto()


class InstanceSignal(Enum):
    """What an outcome reveals about the instance. `BUSY` counts neither for nor against it."""

    HEALTHY = auto()
    BUSY = auto()
    DEGRADED = auto()
    DOWN = auto()


def classify(outcome: Outcome) -> Delivery:
    """Return what an outcome proves about a request to KATO (the first table above)."""
    if isinstance(outcome, Failure):
        return Delivery.UNKNOWN if outcome.bytes_sent else Delivery.NOT_SENT
    status = outcome.status
    if status < 408:  # nearly all replies
        return Delivery.ANSWERED
    if status in REFUSED or is_concurrency_limit(outcome):
        return Delivery.NOT_SENT
    return Delivery.UNKNOWN if status >= 500 or status == 408 else Delivery.ANSWERED


def classify_any_response(outcome: Outcome) -> Delivery:
    """Return what an outcome proves about a request to a service with unknown rules.

    As `classify`, but a 408 and a 5xx are answers, except for 502, 503 and 504: a proxy may have
    sent those.
    """
    delivery = classify(outcome)
    if (
        delivery is Delivery.UNKNOWN
        and isinstance(outcome, Reply)
        and instance_signal(outcome) is not InstanceSignal.DEGRADED
    ):
        return Delivery.ANSWERED
    return delivery


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """Which outcomes are the answer to a request.

    Args:
        classify: Returns what an outcome proves about the request.
        one_round: True: the call ends once every instance was tried and one of them may have
            received the request. False: rounds are repeated until the deadline.
    """

    classify: Callable[[Outcome], Delivery]
    one_round: bool = False


KATO_RULES = AnswerPolicy(classify)
"""For KATO: a 5xx is never the answer, and rounds are repeated until the deadline."""

ANY_RESPONSE = AnswerPolicy(classify_any_response, one_round=True)
"""For any other service: its 500 is the answer, and so is a 502, 503 or 504 of every instance."""


def instance_signal(outcome: Outcome) -> InstanceSignal:
    """Return what an outcome reveals about the instance (the second table above)."""
    if isinstance(outcome, Failure):
        if outcome.cause is Cause.CLOSED:
            return InstanceSignal.BUSY
        is_down = not outcome.bytes_sent or outcome.cause is Cause.TIMEOUT
        return InstanceSignal.DOWN if is_down else InstanceSignal.DEGRADED
    status = outcome.status
    if status < 408:
        return InstanceSignal.HEALTHY
    if status in (502, 503, 504) and not is_concurrency_limit(outcome):
        return InstanceSignal.DEGRADED
    is_busy = status >= 500 or status == 408 or status in REFUSED
    return InstanceSignal.BUSY if is_busy else InstanceSignal.HEALTHY


def is_concurrency_limit(reply: Reply) -> bool:
    """Return whether this is uvicorn's own 503, sent when too many requests are in flight.

    uvicorn sends it without calling the application. Its form is fixed (``service_unavailable`` in
    uvicorn): plain text, ``connection: close``, these 19 bytes. Any other 503 comes from the
    application or a proxy and proves nothing.
    """
    return (
        reply.status == 503
        and reply.body == LIMIT_BODY
        and reply.headers.get("content-type", "").startswith("text/plain")
        and reply.headers.get("connection", "").lower() == "close"
    )


def retry_after(outcome: Outcome) -> float:
    """Return the seconds of ``Retry-After`` in a 429 or 503, 0 without one: see `_backoff`."""
    if not isinstance(outcome, Reply) or outcome.status not in (429, 503):
        return 0.0
    return _backoff.retry_after(outcome.headers) or 0.0


def describe(outcome: Outcome) -> str:
    """Return the outcome as text for an error message; a body is cut to 200 characters."""
    if isinstance(outcome, Reply):
        text = outcome.body.decode("utf-8", "replace").strip()
        return f"{outcome.status} {text[:200]}".strip()
    return str(outcome)
