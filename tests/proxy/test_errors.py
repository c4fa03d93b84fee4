"""Which response an error of a call is."""

import json

import pytest

from kato_consul.errors import (
    BadRequest,
    ConfigurationError,
    ConsulDenied,
    GatewayRefused,
    IdempotencyKeyReused,
    KatoConsulError,
    NoInstances,
    OutcomeUnknown,
    ServerFailed,
    SessionConflict,
    SessionGone,
)
from kato_consul.proxy.errors import error_reply


def test_answer_of_kato_is_unchanged() -> None:
    """What KATO answered reaches the caller as it was, under the id that the caller knows."""
    error = BadRequest("observe", "kato-1", 400, {"message": "session-2: no"})
    error.body, error.content_type = b'{"detail": {"message": "session-2: no"}}', "application/json"
    reply = error_reply(error, "session-1", "session-2")
    assert reply.status == 400
    assert reply.body == b'{"detail": {"message": "session-1: no"}}'
    assert reply.content_type == b"application/json"


def test_answer_of_kato_before_the_session_was_found() -> None:
    """It is unchanged, too: there is no other id to replace in it."""
    error = BadRequest("finding the session", "kato-1", 400, "no")
    error.body, error.content_type = b'{"detail": "no"}', "application/json"
    assert error_reply(error, "session-1", "").body == b'{"detail": "no"}'


def test_server_error_of_kato() -> None:
    """Also a 500, which has no JSON."""
    error = ServerFailed("observe", "kato-1", 500, "Internal Server Error")
    error.body, error.content_type = b"Internal Server Error", "text/plain; charset=utf-8"
    reply = error_reply(error, "s", "s")
    assert (reply.status, reply.body) == (500, b"Internal Server Error")
    assert reply.content_type == b"text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoInstances("kato", "none at 10.0.0.1"), 503),
        (OutcomeUnknown("observe", "kato-1", "10.0.0.1 was cut"), 500),
        (GatewayRefused("observe", "kato-1", 401, "10.0.0.1 wants a key"), 500),
        (ServerFailed("observe", "kato-1", 200, "10.0.0.1 is no KATO"), 500),
        (SessionGone("s", "s"), 404),
        (ConfigurationError("max_pattern_length is True"), 400),
    ],
)
def test_errors_of_the_proxy(error: KatoConsulError, status: int) -> None:
    """Anything else has no address, and never the 401 of a gateway behind the proxy."""
    if isinstance(error, GatewayRefused):
        error.body = b"key?"
    reply = error_reply(error, "s", "s")
    assert reply.status == status
    assert b"10.0.0.1" not in reply.body
    json.loads(reply.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoInstances("kato", "none"), 503),
        (OutcomeUnknown("observe", "kato-1", "cut"), 500),
        (SessionConflict("s", "s", expected=1, found=2, expected_stm=[], found_stm=[]), 409),
        (ConsulDenied("127.0.0.1:8500", "kv", "no"), 500),
    ],
)
def test_key(error: KatoConsulError, status: int) -> None:
    """With a key, nothing is known of an earlier request with it: it may be repeated, and is told
    so. What KATO refuses is refused."""
    reply = error_reply(error, "s", "s", has_key=True)
    body = json.loads(reply.body)
    assert (reply.status, body["outcome"]) == (status, "unknown")
    assert "same Idempotency-Key" in body["detail"]
    without = json.loads(error_reply(error, "s", "s").body)
    known = not isinstance(error, OutcomeUnknown)
    assert without["outcome"] == ("not_applied" if known else "unknown")
    assert "same Idempotency-Key" not in without["detail"]


def test_key_of_another_request() -> None:
    """This one is certainly not applied."""
    reply = error_reply(IdempotencyKeyReused("k", "observe"), "s", "s", has_key=True)
    assert (reply.status, json.loads(reply.body)["outcome"]) == (422, "not_applied")
