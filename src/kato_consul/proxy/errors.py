"""Errors of a call as responses: what KATO answered as it was, all else as `web.error_response`."""

import msgspec

from kato_consul.errors import (
    ConfigurationError,
    GatewayRefused,
    KatoAnswerError,
    KatoConsulError,
    SessionGone,
)
from kato_consul.proxy.http import Reply, detail_reply, json_reply
from kato_consul.web.response import error_response, log_error


def error_reply(error: KatoConsulError, session_id: str = "", current_id: str = "") -> Reply:
    """Return the response to a request whose call failed.

    ``session_id`` is the id that the caller uses, ``current_id`` the one that KATO knows it by.
    """
    if isinstance(error, KatoAnswerError) and error.status >= 400:
        if not error.body:  # KATO's own error, without a request
            return detail_reply(error.status, error.detail)
        if not isinstance(error, GatewayRefused):
            body = error.body
            if current_id != session_id:
                body = body.replace(current_id.encode(), session_id.encode())
            return Reply(error.status, body, error.content_type.encode("latin-1"))
    if isinstance(error, SessionGone):
        return session_not_found(session_id)
    if isinstance(error, ConfigurationError) and not error.sent:
        return detail_reply(400, str(error))
    response = error_response(error)
    log_error(error, response.status)
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
    content_type = dict(headers).pop(b"content-type")
    rest = [header for header in headers if header[0] != b"content-type"]
    return Reply(response.status, msgspec.json.encode(response.body), content_type, rest)


def session_not_found(session_id: str) -> Reply:
    """Return the 404 of KATO's middleware."""
    error = {
        "code": "SESSION_NOT_FOUND",
        "message": f"Session {session_id} not found or expired",
        "session_id": session_id,
    }
    return json_reply(404, {"error": error})
