"""The HTTP response for an error: which status, and what its body may contain.

The status follows from what the error states, in this order:

| the error                                             | status                           |
| ----------------------------------------------------- | -------------------------------- |
| refuses the input: `BadRequest`, `NotFound` and       | 400, 404, 422: the same request  |
| `SessionGone`, `ValidationFailed`,                    | fails again                      |
| `InvalidObservation` and `IdempotencyKeyReused`       |                                  |
| is a `SessionConflict`                                | 409: another writer              |
| is a `ClientClosed`, and nothing is applied           | 503: another process can serve   |
| is safe to resend, and no mistake of the service      | 503: it can succeed later        |
| is any other                                          | 500: repeating it may apply it   |
|                                                       | twice, or fails again            |

Only a 503 has ``Retry-After``. `OutcomeUnknown` is a 500 and not a 502 or 504: proxies and client
libraries repeat those by themselves more often (Envoy's ``gateway-error``, urllib3's usual
``status_forcelist``), and a repeated observation is applied twice.

The body contains no text from outside: an error's message may have addresses, names of instances
and what a proxy returned. It is logged instead.
"""

import math
from dataclasses import dataclass
from typing import Any

from kato_consul._logging import logger
from kato_consul.errors import (
    BadRequest,
    ClientClosed,
    ConsulError,
    Fault,
    IdempotencyKeyReused,
    InvalidObservation,
    KatoAnswerError,
    KatoConsulError,
    NotFound,
    OutcomeUnknown,
    PatternNotStored,
    SessionConflict,
    SessionGone,
    ValidationFailed,
)

RETRY_AFTER = 1
"""Seconds of ``Retry-After`` if the error has none: the least that the header can say. The client
has already waited for its deadline, so longer pauses add little."""

MEDIA_TYPE = "application/problem+json"
"""RFC 9457, problem details for HTTP APIs."""

log = logger("web")

_STATUS: tuple[tuple[type[KatoConsulError], int], ...] = (
    (BadRequest, 400),
    (NotFound, 404),
    (SessionGone, 404),
    (SessionConflict, 409),
    (ValidationFailed, 422),
    (InvalidObservation, 422),
    (IdempotencyKeyReused, 422),
)

_DETAIL = {
    400: "The memory service refused the request.",
    404: "The memory service does not have what the request is about.",
    409: "Something else changed the session at the same time.",
    422: "A field of the request is invalid.",
    500: "The service failed. Do not repeat the request without looking.",
    503: "The service cannot be used now. Nothing was applied; try again later.",
}

_UNKNOWN = (
    "It is not known whether the request was applied. Do not repeat it: read the current state "
    "first, which shows it."
)

_KEY_REUSED = "The idempotency key was used for another request. Use a new one for each request."


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An HTTP response: ``status``, ``headers``, and ``body``, a JSON object."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def error_response(error: KatoConsulError) -> ErrorResponse:
    """Return the response of a web service for an error of a call.

    It is for the call that failed, not for calls that the same HTTP request made before: if one of
    them was applied, a 503 would be wrong. So let a request make one call that changes something.

    Returns:
        A response of RFC 9457 (``application/problem+json``). Its ``outcome`` is "not_applied",
        "applied", "partly_applied" (then ``applied`` is how many observations are) or "unknown".
    """
    status = _status(error)
    outcome = _outcome(error)
    detail = _UNKNOWN if outcome == "unknown" and status == 500 else _DETAIL[status]
    if isinstance(error, IdempotencyKeyReused):
        detail = _KEY_REUSED
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": type(error).__name__,
        "status": status,
        "detail": detail,
        "outcome": outcome,
    }
    if error.applied:
        body["applied"] = error.applied
    if isinstance(error, ValidationFailed):
        body["errors"] = _fields(error.detail)
    elif isinstance(error, InvalidObservation):  # in the form of KATO's own
        place = ["body", *error.place]
        body["errors"] = [{"loc": place, "type": "invalid_observation", "msg": "Not accepted"}]
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = str(max(RETRY_AFTER, math.ceil(error.retry_after or 0)))
    return ErrorResponse(status, headers, body)


def log_error(error: KatoConsulError, status: int) -> None:
    """Log what the response does not say. Called by the handlers."""
    kind, why = type(error).__name__, str(error)
    if status < 500:
        log.info("web.error", status=status, type=kind, call=error.call, why=why)
    else:
        log.warning("web.error", status=status, type=kind, call=error.call, why=why)


def _status(error: KatoConsulError) -> int:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    if isinstance(error, ClientClosed):
        return 500 if error.applied else 503
    return 503 if error.safe_to_resend is True and error.fault is not Fault.CALLER else 500


def _outcome(error: KatoConsulError) -> str:
    if isinstance(error, OutcomeUnknown):
        return "unknown"
    if isinstance(error, SessionConflict) and error.call_applied is not False:
        return "applied" if error.call_applied else "unknown"
    if error.applied:
        return "partly_applied"
    if isinstance(error, PatternNotStored):
        return "applied"
    if isinstance(error, SessionConflict):
        return "not_applied"
    certain = error.sent is False or error.safe_to_resend is True
    if certain or isinstance(error, KatoAnswerError | ClientClosed | ConsulError):
        return "not_applied"
    return "unknown"


def _fields(detail: Any) -> list[dict[str, Any]]:
    """Return place, kind and text of each invalid field, without the values."""
    if not isinstance(detail, list):
        return []
    return [
        {name: entry[name] for name in ("loc", "type", "msg") if name in entry}
        for entry in detail
        if isinstance(entry, dict)
    ]
