"""What an outcome proves. Three verdicts, and no guessing:

* ``NOT_SENT``: the application provably never saw the request; another instance may have it.
* ``ANSWERED``: it is done, well or badly, and the answer says which.
* ``UNKNOWN``: it may have been applied.

| outcome                                            | verdict  | because                      |
| -------------------------------------------------- | -------- | ---------------------------- |
| failure before the first byte left                 | NOT_SENT | the engine says so, on fact  |
| 503 of the server's own concurrency limit          | NOT_SENT | it is sent before the app    |
| failure after that: timeout, reset, half an answer | UNKNOWN  | the server may go on alone   |
| 500 and above otherwise                            | UNKNOWN  | the app may have saved first |
| anything else                                      | ANSWERED | the app says so itself       |
"""

from enum import Enum, auto

from kato_consul.flow import Failure, Outcome, Reply


class Verdict(Enum):
    """What an outcome proves about the request."""

    NOT_SENT = auto()
    ANSWERED = auto()
    UNKNOWN = auto()


def judge(outcome: Outcome) -> Verdict:
    """The verdict on one outcome: the table above."""
    if isinstance(outcome, Failure):
        return Verdict.UNKNOWN if outcome.sent else Verdict.NOT_SENT
    if is_concurrency_limit(outcome):
        return Verdict.NOT_SENT
    return Verdict.UNKNOWN if outcome.status >= 500 else Verdict.ANSWERED


def is_concurrency_limit(reply: Reply) -> bool:
    """Is this uvicorn's own 503, answered in the application's place when too many are in flight?

    Its shape is fixed (uvicorn, ``service_unavailable``): plain text, closing, these 19 bytes. Any
    other 503 comes from the application or a proxy, of which nothing is known.
    """
    return (
        reply.status == 503
        and reply.body == b"Service Unavailable"
        and reply.headers.get("content-type", "").startswith("text/plain")
        and reply.headers.get("connection", "").lower() == "close"
    )
