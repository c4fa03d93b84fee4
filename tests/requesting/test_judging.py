"""What an outcome proves: the table of `kato_consul.requesting.judging`."""

import pytest

from kato_consul.flow import Cause, Failure, Outcome, Reply
from kato_consul.requesting.judging import Verdict, is_concurrency_limit, judge
from tests.building import reply

NOT_SENT, ANSWERED, UNKNOWN = Verdict.NOT_SENT, Verdict.ANSWERED, Verdict.UNKNOWN

LIMIT = {"content-type": "text/plain; charset=utf-8", "connection": "close"}


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize(("sent", "verdict"), [(False, NOT_SENT), (True, UNKNOWN)])
def test_failure(cause: Cause, sent: bool, verdict: Verdict) -> None:
    """Of a failure only one thing counts: whether a byte may have left."""
    assert judge(Failure(cause, sent=sent, detail="")) is verdict


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (reply(200, {}), ANSWERED),
        (reply(204), ANSWERED),
        (reply(307), ANSWERED),
        (reply(400), ANSWERED),
        (reply(404), ANSWERED),
        (reply(408), ANSWERED),
        (reply(422), ANSWERED),
        (reply(429), ANSWERED),
        (reply(500, b"Internal Server Error"), UNKNOWN),
        (reply(501), UNKNOWN),
        (reply(502), UNKNOWN),
        (reply(503, {"detail": "Service Unavailable"}), UNKNOWN),
        (reply(503), UNKNOWN),
        (reply(504), UNKNOWN),
        (Reply(503, LIMIT, b"Service Unavailable"), NOT_SENT),
    ],
)
def test_reply(outcome: Outcome, verdict: Verdict) -> None:
    """An answer is one, but for what may have been applied before the server gave up."""
    assert judge(outcome) is verdict


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (503, LIMIT, b"Service Unavailable", True),
        (503, {**LIMIT, "content-type": "text/plain"}, b"Service Unavailable", True),
        (503, {**LIMIT, "connection": "Close"}, b"Service Unavailable", True),
        (500, LIMIT, b"Service Unavailable", False),
        (503, LIMIT, b"Service Unavailable\n", False),
        (503, LIMIT, b"", False),
        (503, {"connection": "close"}, b"Service Unavailable", False),
        (503, {**LIMIT, "content-type": "text/html"}, b"Service Unavailable", False),
        (503, {"content-type": "text/plain"}, b"Service Unavailable", False),
        (503, {**LIMIT, "connection": "keep-alive"}, b"Service Unavailable", False),
    ],
)
def test_concurrency_limit(
    status: int, headers: dict[str, str], body: bytes, expected: bool
) -> None:
    """Only a 503 in all its details is the server's own; another may be the application's."""
    assert is_concurrency_limit(Reply(status, headers, body)) is expected
