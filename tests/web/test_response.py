"""The HTTP response for each error: status, Retry-After and body."""

import json
from typing import Any

import pytest

from kato_consul import errors
from kato_consul._kato.observations import observation
from kato_consul.errors import KatoConsulError
from kato_consul.web import error_response
from tests.test_errors import TABLE

STATUS: dict[type[KatoConsulError], int] = {
    errors.KatoConsulError: 503,
    errors.ConfigurationError: 500,
    errors.DefinitionError: 500,
    errors.InvalidObservation: 422,
    errors.ClientClosed: 503,
    errors.ConsulError: 503,
    errors.ConsulUnreachable: 503,
    errors.ConsulUnavailable: 503,
    errors.ConsulDenied: 500,
    errors.ConsulRejected: 500,
    errors.NotPassing: 503,
    errors.StillRegistered: 500,
    errors.DiscoveryError: 503,
    errors.UnknownService: 500,
    errors.NoInstances: 503,
    errors.KatoError: 503,
    errors.RequestNotSent: 503,
    errors.SessionBusy: 500,
    errors.SessionDirectoryUnavailable: 503,
    errors.SessionOwnedElsewhere: 503,
    errors.IdempotencyKeyReused: 422,
    errors.NoThread: 500,
    errors.NoResponse: 503,
    errors.OutcomeUnknown: 500,
    errors.PatternNotStored: 500,
    errors.SessionConflict: 409,
    errors.SessionGone: 404,
    errors.StoreUnavailable: 503,
    errors.KatoAnswerError: 500,
    errors.BadRequest: 400,
    errors.NotFound: 404,
    errors.ValidationFailed: 422,
    errors.ServerFailed: 500,
    errors.GatewayRefused: 500,
}

SECRETS = ("10.1.2.3", "kato-7", "t0ken", "session-9", "node-5")
ALL = [row[0] for row in TABLE]
NAMES = [type(error).__name__ for error in ALL]


def test_table_has_every_error() -> None:
    """A new error needs a status."""
    assert set(STATUS) == {KatoConsulError, *map(type, ALL)}


@pytest.mark.parametrize("error", ALL, ids=NAMES)
def test_status(error: KatoConsulError) -> None:
    """The status of each error."""
    assert error_response(error).status == error_response(error).body["status"]
    assert error_response(error).status == STATUS[type(error)]


@pytest.mark.parametrize("error", ALL, ids=NAMES)
def test_only_what_may_be_resent_invites_to_resend(error: KatoConsulError) -> None:
    """Retry-After comes with a 503 only, and a 503 only if nothing is applied."""
    response = error_response(error)
    assert ("retry-after" in response.headers) == (response.status == 503)
    if response.status == 503:
        assert response.body["outcome"] == "not_applied"
        assert error.safe_to_resend is True or isinstance(error, errors.ClientClosed)


@pytest.mark.parametrize("error", ALL, ids=NAMES)
def test_sequence_that_is_partly_applied_is_not_to_be_resent(error: KatoConsulError) -> None:
    """The body says how many observations are applied."""
    changed = type(error).__new__(type(error))
    changed.args, changed.__dict__ = error.args, dict(error.__dict__)
    changed.applied, changed.sent, changed.safe_to_resend = 200, True, False
    response = error_response(changed)
    assert response.status < 503
    assert "retry-after" not in response.headers
    assert response.body["applied"] == 200
    assert response.body["outcome"] in ("partly_applied", "unknown")


def test_reused_idempotency_key_is_named_as_the_cause() -> None:
    """It is no field of the body, and the detail says so."""
    body = error_response(errors.IdempotencyKeyReused("6f1c", "observe")).body
    assert body["detail"].startswith("The idempotency key was used for another request")
    assert body["outcome"] == "not_applied"


def with_secrets() -> list[KatoConsulError]:
    """Errors that contain addresses, names of instances and texts from outside."""
    text = " ".join(SECRETS)
    detail = [{"loc": ["body", "emotives"], "msg": "not a number", "type": "float", "input": text}]
    return [
        errors.ConfigurationError(text),
        errors.ConsulUnreachable("10.1.2.3:8500", "t0ken"),
        errors.ConsulUnavailable("10.1.2.3:8500", 503, text, 4.0),
        errors.ConsulDenied("10.1.2.3:8500", "t0ken", text),
        errors.NoInstances("kato", text),
        errors.RequestNotSent(text),
        errors.SessionDirectoryUnavailable("Redis at 10.1.2.3:6379/0", text),
        errors.SessionOwnedElsewhere("ann", "10.1.2.3:17", text),
        errors.IdempotencyKeyReused("t0ken", "observe"),
        errors.NoResponse(text),
        errors.OutcomeUnknown("observe", "kato-7", text),
        errors.PatternNotStored("learn", "node-5", "PTRN|1"),
        errors.SessionConflict(
            "ann", "session-9", expected=1, found=2, expected_stm=[], found_stm=[[text]]
        ),
        errors.SessionGone("ann", "session-9"),
        errors.StoreUnavailable("observe", text),
        errors.BadRequest("learn", "kato-7", 400, text),
        errors.NotFound("pattern", "kato-7", 404, text),
        errors.ValidationFailed("observe", "kato-7", 422, detail),
        errors.ValidationFailed("observe", "kato-7", 422, text),
        errors.ServerFailed("observe", "kato-7", 500, text),
    ]


@pytest.mark.parametrize("error", with_secrets(), ids=lambda error: type(error).__name__)
def test_response_contains_nothing_from_outside(error: KatoConsulError) -> None:
    """No address, name of an instance, id or token leaves the service."""
    response = error_response(error)
    text = json.dumps(response.body) + str(response.headers)
    assert not [secret for secret in SECRETS if secret in text]


def test_invalid_fields_are_named_without_their_values() -> None:
    """A 422 stays one, and says which field is wrong."""
    error = errors.ValidationFailed(
        "observe", "kato-1", 422, [{"loc": ["body", "x"], "msg": "bad", "type": "t", "input": "v"}]
    )
    body = error_response(error).body
    assert body["errors"] == [{"loc": ["body", "x"], "msg": "bad", "type": "t"}]


def test_place_of_what_the_client_refuses_is_named_without_its_value() -> None:
    """In the form of KATO's own 422."""
    with pytest.raises(errors.InvalidObservation) as caught:
        observation(["fine", SECRETS])  # type: ignore[list-item]
    (field,) = error_response(caught.value).body["errors"]
    assert field["loc"] == ["body", "strings", 1]
    assert not [secret for secret in SECRETS if secret in json.dumps(field)]


@pytest.mark.parametrize(
    ("seconds", "header"), [(None, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")]
)
def test_retry_after_is_in_whole_seconds(seconds: float | None, header: str) -> None:
    """As HTTP has it, rounded up, and at least one."""
    error = errors.RequestNotSent("no")
    error.retry_after = seconds
    assert error_response(error).headers["retry-after"] == header


@pytest.mark.parametrize(
    ("applied", "outcome"), [(True, "applied"), (False, "not_applied"), (None, "unknown")]
)
def test_conflict_says_whether_the_call_is_applied(applied: Any, outcome: str) -> None:
    """The caller decides with it whether to send the request again."""
    conflict = errors.SessionConflict(
        "ann", "session-1", expected=1, found=2, expected_stm=[], found_stm=[]
    )
    conflict.call_applied = applied
    response = error_response(conflict)
    assert (response.status, response.body["outcome"]) == (409, outcome)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.OutcomeUnknown("observe", "kato-1", "cut"), "unknown"),
        (errors.PatternNotStored("learn", "shop", "PTRN|1"), "applied"),
        (errors.ConsulDenied("a:8500", "b", "c"), "not_applied"),
        (errors.ServerFailed("observe", "kato-1", 500, "no"), "not_applied"),
        (errors.ConfigurationError("bad"), "not_applied"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outcome(error: KatoConsulError, outcome: str) -> None:
    """What became of the call."""
    assert error_response(error).body["outcome"] == outcome
