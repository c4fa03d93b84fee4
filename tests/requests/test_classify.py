"""Classification of outcomes: the tables of `kato_consul._requests.classify`."""

import pytest

from kato_consul._backoff import MAX_RETRY_AFTER
from kato_consul._flow import Cause, Failure, Outcome, Reply
from kato_consul._requests.classify import (
    ANY_RESPONSE,
    Delivery,
    InstanceSignal,
    classify,
    instance_signal,
    is_concurrency_limit,
    retry_after,
)
from tests.building import reply

NOT_SENT, ANSWERED, UNKNOWN = Delivery.NOT_SENT, Delivery.ANSWERED, Delivery.UNKNOWN

LIMIT = {"content-type": "text/plain; charset=utf-8", "connection": "close"}


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize(("sent", "delivery"), [(False, NOT_SENT), (True, UNKNOWN)])
def test_delivery_of_a_failure(cause: Cause, sent: bool, delivery: Delivery) -> None:
    """A failure is classified only by whether a byte may have been sent."""
    assert classify(Failure(cause, bytes_sent=sent, detail="")) is delivery


@pytest.mark.parametrize(
    ("outcome", "delivery"),
    [
        (reply(200, {}), ANSWERED),
        (reply(204), ANSWERED),
        (reply(307), ANSWERED),
        (reply(400), ANSWERED),
        (reply(404), ANSWERED),
        (reply(408), UNKNOWN),
        (reply(413), ANSWERED),
        (reply(421), NOT_SENT),
        (reply(425), NOT_SENT),
        (reply(422), ANSWERED),
        (reply(428), ANSWERED),
        (reply(429), NOT_SENT),
        (reply(431), ANSWERED),
        (reply(500, b"Internal Server Error"), UNKNOWN),
        (reply(501), UNKNOWN),
        (reply(502), UNKNOWN),
        (reply(503, {"detail": "Service Unavailable"}), UNKNOWN),
        (reply(503), UNKNOWN),
        (reply(504), UNKNOWN),
        (Reply(503, LIMIT, b"Service Unavailable"), NOT_SENT),
    ],
)
def test_delivery_of_a_reply(outcome: Outcome, delivery: Delivery) -> None:
    """A reply is the answer, unless it is a refusal or the request may have been applied."""
    assert classify(outcome) is delivery


@pytest.mark.parametrize(
    ("outcome", "delivery"),
    [
        (reply(200, {}), ANSWERED),
        (reply(404), ANSWERED),
        (reply(408), ANSWERED),
        (reply(421), NOT_SENT),
        (reply(429), NOT_SENT),
        (reply(500), ANSWERED),
        (reply(501), ANSWERED),
        (reply(502), UNKNOWN),
        (reply(503), UNKNOWN),
        (reply(504), UNKNOWN),
        (Reply(503, LIMIT, b"Service Unavailable"), NOT_SENT),
        (Failure(Cause.CONNECT, bytes_sent=False, detail=""), NOT_SENT),
        (Failure(Cause.TIMEOUT, bytes_sent=True, detail=""), UNKNOWN),
    ],
)
def test_delivery_with_any_response(outcome: Outcome, delivery: Delivery) -> None:
    """For a service with unknown rules a 500 is the answer."""
    assert ANY_RESPONSE.classify(outcome) is delivery


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
    """Only a 503 that matches in all details is uvicorn's own."""
    assert is_concurrency_limit(Reply(status, headers, body)) is expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        *(
            (Failure(cause, bytes_sent=False, detail=""), InstanceSignal.DOWN)
            for cause in Cause
            if cause is not Cause.CLOSED
        ),
        (Failure(Cause.CLOSED, bytes_sent=False, detail=""), InstanceSignal.BUSY),
        (Failure(Cause.CLOSED, bytes_sent=True, detail=""), InstanceSignal.BUSY),
        (Failure(Cause.TIMEOUT, bytes_sent=True, detail=""), InstanceSignal.DOWN),
        (Failure(Cause.CUT, bytes_sent=True, detail=""), InstanceSignal.DEGRADED),
        (Failure(Cause.PROTOCOL, bytes_sent=True, detail=""), InstanceSignal.DEGRADED),
        (reply(502), InstanceSignal.DEGRADED),
        (reply(503), InstanceSignal.DEGRADED),
        (reply(504), InstanceSignal.DEGRADED),
        (reply(500), InstanceSignal.BUSY),
        (reply(501), InstanceSignal.BUSY),
        (reply(429), InstanceSignal.BUSY),
        (reply(408), InstanceSignal.BUSY),
        (reply(421), InstanceSignal.BUSY),
        (reply(425), InstanceSignal.BUSY),
        (reply(413), InstanceSignal.HEALTHY),
        (Reply(503, LIMIT, b"Service Unavailable"), InstanceSignal.BUSY),
        (reply(200), InstanceSignal.HEALTHY),
        (reply(404), InstanceSignal.HEALTHY),
        (reply(431), InstanceSignal.HEALTHY),
    ],
)
def test_instance_signal(outcome: Outcome, expected: InstanceSignal) -> None:
    """The signal about the instance, for each outcome."""
    assert instance_signal(outcome) is expected


DATE = "Tue, 24 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (reply(503, retry_after="3"), 3.0),
        (reply(429, retry_after="60"), 60.0),
        (reply(429, retry_after="86400"), MAX_RETRY_AFTER),
        (reply(503, retry_after="9" * 400), MAX_RETRY_AFTER),
        (reply(503, retry_after="9" * 5_000), MAX_RETRY_AFTER),
        (reply(503, retry_after="Fri, 31 Dec 9999 23:59:59 GMT", date=DATE), MAX_RETRY_AFTER),
        (reply(503, retry_after="Fri, 31 Dec 9999 23:59:59 -2359", date=DATE), MAX_RETRY_AFTER),
        (reply(503, retry_after="Thu, 01 Jan 2026 00:00:00 +" + "9" * 20, date=DATE), 0.0),
        (reply(503, retry_after="Thu, 01 Jan 99999 00:00:00 GMT", date=DATE), 0.0),
        (reply(503, retry_after="inf"), 0.0),
        (reply(503, retry_after="nan"), 0.0),
        (reply(503, retry_after="Tue, 24 Nov 2026 10:00:07 GMT", date=DATE), 7.0),
        (reply(503, retry_after="Tue, 24 Nov 2026 09:00:00 GMT", date=DATE), 0.0),
        (reply(503, retry_after="Tue, 24 Nov 2026 10:00:07 GMT"), 0.0),  # no Date to count from
        (reply(503, retry_after="soon"), 0.0),
        (reply(503, retry_after="-3"), 0.0),
        (reply(503), 0.0),
        (reply(200, retry_after="3"), 0.0),
        (Failure(Cause.TIMEOUT, bytes_sent=True, detail=""), 0.0),
    ],
)
def test_retry_after(outcome: Outcome, seconds: float) -> None:
    """Seconds or a date, in a 429 or 503, up to a limit; 0 if unreadable."""
    assert retry_after(outcome) == seconds
