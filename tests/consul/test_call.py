"""Executing calls: the error for each failure."""

from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall, call_consul
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._secret import Secret
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
)
from tests.building import hung, refused, reply
from tests.flows import Player

AT = "http://consul.test:8500"
TOKEN = "b1gs8d1e-0000-hidden"

api = ConsulApi(AT)


def outcome_of(call: ConsulCall[Any], outcome: Outcome) -> Any:
    """Return the result of `execute` for an outcome."""
    return Player(lambda send: outcome).play(call_consul(call))


FAILURES: list[tuple[Outcome, type[ConsulError], str]] = [
    (reply(400, b"Invalid service address"), ConsulRejected, "400 Invalid service address"),
    (reply(401, b"ACL support disabled"), ConsulDenied, "denied listing services"),
    (reply(403, b"Permission denied"), ConsulDenied, "denied listing services: Permission denied"),
    (reply(404), ConsulRejected, "listing services: 404 (is this a Consul agent?)"),
    (reply(404, b"no page"), ConsulRejected, "404 no page (is this a Consul agent?)"),
    (reply(301, b"Moved", location="https://c.test/"), ConsulRejected, "301 https://c.test/"),
    (reply(307, b"Moved"), ConsulRejected, "rejected listing services: 307 Moved"),
    (reply(400, b"x" * 400), ConsulRejected, "400 " + "x" * 300 + "…"),
    (reply(502, b"x" * 400), ConsulUnavailable, "502 " + "x" * 300 + "…"),
    (reply(403, b"x" * 400), ConsulDenied, "denied listing services: " + "x" * 300 + "…"),
    (reply(429, b"rate limit"), ConsulUnavailable, "429 rate limit"),
    (reply(500, b"No cluster leader"), ConsulUnavailable, "500 No cluster leader"),
    (reply(500, b"ACL not found"), ConsulDenied, "denied listing services: ACL not found"),
    (reply(500, b"rpc error: Permission denied"), ConsulDenied, "denied listing services"),
    (reply(502, b"\xff\xfe"), ConsulUnavailable, "502"),
    (reply(503), ConsulUnavailable, "cannot serve now: 503"),
    (refused(), ConsulUnreachable, "could not connect (refused)"),
    (hung(), ConsulUnreachable, "no answer in time"),
    (reply(200, b"<html>"), ConsulRejected, "unreadable"),
    (reply(200, b"\xff"), ConsulRejected, "unreadable"),
    (reply(200, b""), ConsulRejected, "unreadable"),
    (reply(200, b"[" * 100_000), ConsulRejected, "unreadable"),
    (reply(200, b"9" * 5_000), ConsulRejected, "unreadable"),
    (reply(200, None), ConsulRejected, "unreadable"),
]


@pytest.mark.parametrize(("outcome", "kind", "text"), FAILURES)
def test_failure_is_an_error(outcome: Outcome, kind: type[ConsulError], text: str) -> None:
    """Each failure has its error class. The message has the address and reason, not the token."""
    with pytest.raises(ConsulError) as caught:
        outcome_of(ConsulApi(AT, token=lambda: Secret(TOKEN)).service_names(), outcome)
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert AT in str(caught.value)
    assert TOKEN not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [404, 301, 308])
@pytest.mark.parametrize(
    "call",
    [
        api.leader(),
        api.service_names(),
        api.health("kato"),
        api.register(RegistrationPayload(ServiceDefinition(name="kato", id="kato-1", port=1))),
        api.agent_services(),
    ],
    ids=lambda call: call.what,
)
def test_another_server_is_not_an_empty_consul(call: ConsulCall[Any], status: int) -> None:
    """A 404 or redirection of another HTTP server is an error for every call."""
    with pytest.raises(ConsulRejected, match=str(status)) as caught:
        outcome_of(call, reply(status))
    assert caught.value.status == status


def test_redirected_deregistration_is_an_error() -> None:
    """A redirection is not followed and is not a success, although a 404 is accepted."""
    with pytest.raises(ConsulRejected, match="301"):
        outcome_of(api.deregister("kato-1"), reply(301))


@pytest.mark.parametrize(
    ("outcome", "sent"),
    [
        (refused(), False),
        (hung(), True),
        (reply(500), True),
        (reply(403), True),
        (reply(400), True),
    ],
)
def test_error_has_whether_the_request_was_sent(outcome: Outcome, sent: bool) -> None:
    """``sent`` is False only if the request was not sent."""
    with pytest.raises(ConsulError) as caught:
        outcome_of(api.leader(), outcome)
    assert caught.value.sent is sent


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[1]", b'[{"Node": {}}]', b'{"a": 1}'])
def test_invalid_health_response_is_an_error(body: bytes) -> None:
    """A health response in another format is an error, not an empty service."""
    with pytest.raises(ConsulRejected, match="unreadable"):
        outcome_of(api.health("kato"), reply(200, body))


def test_invalid_index_is_an_error() -> None:
    """An index that is not a number is a `ConsulRejected`."""
    with pytest.raises(ConsulRejected, match="unreadable"):
        outcome_of(api.health("kato"), reply(200, [], x_consul_index="soon"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "3"}, 3.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "86400"}, 60.0),
        ({"retry_after": "9" * 400}, 60.0),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": ""}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_in_the_error(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds in Retry-After are in the error; any other value is ignored."""
    with pytest.raises(ConsulUnavailable) as caught:
        outcome_of(api.leader(), reply(status, b"", **headers))
    assert (caught.value.status, caught.value.retry_after) == (status, seconds)


def test_engine_error_is_chained() -> None:
    """The HTTP engine's exception is the cause of the error."""
    engine = OSError("connection refused")
    with pytest.raises(ConsulUnreachable) as caught:
        outcome_of(api.leader(), Failure(Cause.CONNECT, bytes_sent=False, detail="", error=engine))
    assert caught.value.__cause__ is engine
    assert (caught.value.address, caught.value.reason) == (AT, "could not connect")


def test_denied_request_is_sent_again_with_a_new_token() -> None:
    """A request that is denied is sent again if the token was replaced since it was sent."""
    tokens = iter([Secret("old"), Secret("new"), Secret("new")])
    flow = call_consul(ConsulApi(AT, token=lambda: next(tokens)).leader())
    sent = [next(flow)]
    with pytest.raises(ConsulDenied):
        while True:
            sent.append(flow.send(reply(403, b"ACL not found")))
    assert [step.headers for step in sent if isinstance(step, Send)] == [
        {"X-Consul-Token": "old"},
        {"X-Consul-Token": "new"},
    ]
