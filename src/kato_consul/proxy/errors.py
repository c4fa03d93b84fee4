"""Errors of a call as responses: what KATO answered as it was, all else as `web.error_response`."""

from typing import Any

import msgspec

from kato_consul.errors import (
    ConfigurationError,
    GatewayRefused,
    IdempotencyKeyReused,
    KatoAnswerError,
    KatoConsulError,
    SessionGone,
)
from kato_consul.proxy.http import Reply, detail_reply, json_reply
from kato_consul.web.response import MEDIA_TYPE, error_response, log_error

REPEAT_WITH_KEY = (
    "It is not known whether the request was applied. Repeat it with the same Idempotency-Key: it "
    "is applied once at most, and the answer tells."
)

READ_FIRST = (
    "It is not known whether the request was applied. Do not repeat it: GET the session's /stm, or "
    "for a learn its node's /symbols/stats, and see. A request with an Idempotency-Key could be "
    "repeated."
)


def error_reply(
    error: KatoConsulError, session_id: str = "", current_id: str = "", *, has_key: bool = False
) -> Reply:
    """Return the response to a request whose call failed.

    ``session_id`` is the id that the caller uses, ``current_id`` the one that KATO knows it by, ""
    if that was not found out.
    ``has_key``: the request has an idempotency key. Then an earlier one with the same key may be
    applied, unless KATO refuses it: this one was not sent, and nothing is known of that.
    """
    if isinstance(error, KatoAnswerError) and error.status >= 400 and not error.applied:
        if not error.body:  # KATO's own error, without a request
            return detail_reply(error.status, error.detail)
        if not isinstance(error, GatewayRefused):
            body = error.body
            if current_id and current_id != session_id:
                body = body.replace(current_id.encode(), session_id.encode())
            return Reply(error.status, body, error.content_type.encode("latin-1"))
    if isinstance(error, SessionGone):
        return session_not_found(session_id)
    if isinstance(error, ConfigurationError) and not error.sent:
        return problem(400, type(error).__name__, str(error).removeprefix(f"{error.call}: "))
    response = error_response(error)
    earlier_may_be = has_key and not isinstance(error, IdempotencyKeyReused)
    if earlier_may_be and response.body["outcome"] == "not_applied":
        response.body["outcome"] = "unknown"
    if response.body["outcome"] == "unknown":
        response.body["detail"] = REPEAT_WITH_KEY if has_key else READ_FIRST
    log_error(error, response.status)
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
    content_type = dict(headers).pop(b"content-type")
    rest = [header for header in headers if header[0] != b"content-type"]
    return Reply(response.status, msgspec.json.encode(response.body), content_type, rest)


def problem(status: int, title: str, detail: str, outcome: str = "not_applied") -> Reply:
    """Return a response of RFC 9457 to a request that was not made a call."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "outcome": outcome,
    }
    return Reply(status, msgspec.json.encode(body), MEDIA_TYPE.encode())


def session_not_found(session_id: str) -> Reply:
    """Return the 404 of KATO's middleware."""
    error = {
        "code": "SESSION_NOT_FOUND",
        "message": f"Session {session_id} not found or expired",
        "session_id": session_id,
    }
    return json_reply(404, {"error": error})
