"""Decoding: what KATO's response to a request is, or which error.

Anything in front of KATO may have answered in its place. So a body counts as KATO's only if it has
the shape that the request's response has.
"""

from typing import Any

import msgspec

from kato_consul._flow import Reply
from kato_consul._requests.gateway import gateway_refusal, strange_body
from kato_consul._requests.request import Request
from kato_consul.errors import (
    BadRequest,
    GatewayRefused,
    KatoAnswerError,
    NotFound,
    OutcomeUnknown,
    ServerFailed,
    ValidationFailed,
    excerpt,
)

_BY_STATUS: dict[int, type[KatoAnswerError]] = {
    400: BadRequest,
    404: NotFound,
    422: ValidationFailed,
}


_NOT_KATO = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding and validating a body raises, if it is not KATO's: also text that is not UTF-8, and
JSON that is nested too deeply."""


def decode_reply(request: Request, uid: str, reply: Reply) -> Any:
    """Return KATO's decoded JSON. ``uid`` is the instance's, for errors.

    Raises:
        KatoAnswerError: the reply is an error, or it is not a KATO response (`ServerFailed`), or
            something in front of KATO refused the request (`GatewayRefused`).
        OutcomeUnknown: it is a success, but not KATO's, and the request is not repeatable.
    """
    what = request.what
    success = 200 <= reply.status < 300
    if refusal := gateway_refusal(reply):
        text = _text(reply)
        said = f". Its answer: {text}" if text else ""
        raise _with_body(GatewayRefused(what, uid, reply.status, f"{refusal}{said}"), reply)
    try:
        response = msgspec.json.decode(reply.body)
        if success:
            _check_response(request, response)
            return response
    except _NOT_KATO as error:
        why = f" ({error})" if isinstance(error, msgspec.ValidationError) else ""
        reason = f"not a KATO response{why}: {_text(reply)}"
        if hint := strange_body(reply):
            reason += f". {hint[0].upper()}{hint[1:]}"
        if success and not request.repeatable:  # a proxy answered: it may have forwarded the write
            raise OutcomeUnknown(what, uid, reason) from None
        raise _with_body(ServerFailed(what, uid, reply.status, reason), reply) from None
    detail = response
    if isinstance(response, dict):
        detail = response.get("detail", response.get("error", response))
    kind = _BY_STATUS.get(reply.status, ServerFailed)
    try:
        answer = kind(what, uid, reply.status, detail)
    except RecursionError:  # it is nested too deeply to be printed
        answer = kind(what, uid, reply.status, _text(reply))
    raise _with_body(answer, reply)


def _with_body(error: KatoAnswerError, reply: Reply) -> KatoAnswerError:
    error.body, error.content_type = reply.body, reply.headers.get("content-type", "")
    return error


def _check_response(request: Request, response: Any) -> None:
    """Check a success.

    Raises:
        ValidationError: it does not have the fields and types of the request's response.
    """
    if not isinstance(response, dict):
        raise msgspec.ValidationError("not a JSON object")
    for name in request.needs:
        if name not in response:
            raise msgspec.ValidationError(f"no field {name!r}")
    if request.shape is not None:
        msgspec.convert(response, request.shape)


def _text(reply: Reply) -> str:
    """Return the body of a reply for an error message."""
    return excerpt(reply.body.decode("utf-8", "replace"))


def is_session_missing(detail: Any) -> bool:
    """Return whether a 404 is about the session. KATO has two formats: middleware and endpoint."""
    if isinstance(detail, dict):
        return detail.get("code") == "SESSION_NOT_FOUND"
    return isinstance(detail, str) and detail.startswith("Session ") and "not found" in detail
