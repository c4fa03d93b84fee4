"""Session calls: what each path of a session in KATO's API is as a call of the client.

The bodies are decoded as strictly as KATO decodes them. What KATO would refuse is an `Unusable`
request: it is shown to KATO, whose answer the caller gets (`refusals`).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, UnsetType

from kato_consul._kato import repeatable, whole_responses
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.sequence_chunks import CHUNK_SIZE
from kato_consul._kato.types import Observation
from kato_consul.proxy.errors import session_not_found
from kato_consul.proxy.http import Reply, detail_reply, json_reply

DEFAULT_EXTENSION = 3600
"""Seconds by which KATO extends a session unless told."""

LONGEST_TTL = 5 * 10**10
"""Seconds of a time to live that KATO can surely add to today's date, or subtract: 1,584 years.
With too many each instance answers a 500, as if its store were down; and so it does if a new
session is to have less than none."""


class Unusable(Exception):
    """The request is not one that KATO takes."""


class SessionRequest(NamedTuple):
    """What a call needs of a request: ``body``, ``query`` (without its question mark), and the
    ``key`` of its idempotency, None without."""

    body: bytes
    query: bytes
    key: str | None


class SessionCall(NamedTuple):
    """A call: its name, the method and path below the session's, and what makes its flow.

    ``gone`` returns the response if there is no such session. ``has_body``: KATO reads its body.
    ``names_session``: the response has the header ``X-Session-ID``.
    """

    name: str
    method: str
    path: str
    flow: Callable[[SessionRequest], CallFlow[Any]]
    gone: Callable[[str], Reply] = session_not_found
    has_body: bool = False
    names_session: bool = True


class _Observation(msgspec.Struct):
    """The body of ``observe``. KATO takes other fields, and ignores them."""

    strings: list[str] | UnsetType = UNSET
    vectors: list[list[float]] | UnsetType = UNSET
    emotives: dict[str, float] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class _ObservationInSequence(_Observation):
    unique_id: str | UnsetType | None = UNSET


class _Sequence(msgspec.Struct):
    """The body of ``observe-sequence``."""

    observations: list[_ObservationInSequence]
    learn_after_each: bool = False
    learn_at_end: bool = False
    clear_stm_between: bool = False


class _Decoder:
    """Decodes JSON to a type: as it is, or as KATO converts it: ``"1"`` and ``true`` to numbers."""

    def __init__(self, kind: Any) -> None:
        self._exact = msgspec.json.Decoder(kind)
        self._lax = msgspec.json.Decoder(kind, strict=False)
        self._kind = kind

    def __call__(self, body: bytes) -> Any:
        for decode in (self._exact.decode, self._lax.decode, self._without_booleans):
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return decode(body)
        raise Unusable

    def _without_booleans(self, body: bytes) -> Any:
        converted = _booleans_as_numbers(msgspec.json.decode(body))
        return msgspec.convert(converted, self._kind, strict=False)


def _booleans_as_numbers(value: Any, *, numeric: bool = False) -> Any:
    """Return a body whose ``vectors`` and ``emotives`` have numbers in the place of booleans."""
    if isinstance(value, dict):
        return {
            name: part
            if name == "metadata" and not numeric
            else _booleans_as_numbers(part, numeric=numeric or name in ("vectors", "emotives"))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_booleans_as_numbers(part, numeric=numeric) for part in value]
    return float(value) if numeric and isinstance(value, bool) else value


_observation = _Decoder(_Observation)
_sequence = _Decoder(_Sequence)
_object = _Decoder(dict[str, Any])


def _given(decoded: _Observation) -> Observation:
    """Return the fields that the caller has given."""
    given: Any = {
        name: value
        for name in decoded.__struct_fields__
        if (value := getattr(decoded, name)) is not UNSET
    }
    if given.get("unique_id", "") is None:
        del given["unique_id"]
    observation: Observation = given
    return observation


def _observe(request: SessionRequest) -> CallFlow[Any]:
    return repeatable.observe(_given(_observation(request.body)), request.key, None)


def _observe_sequence(request: SessionRequest) -> CallFlow[Any]:
    sequence = _sequence(request.body)
    return repeatable.observe_sequence(
        [_given(one) for one in sequence.observations],
        request.key,
        None,
        chunk=CHUNK_SIZE,
        learn_after_each=sequence.learn_after_each,
        learn_at_end=sequence.learn_at_end,
        clear_stm_between=sequence.clear_stm_between,
        progress=None,
    )


def _learn(request: SessionRequest) -> CallFlow[Any]:
    return repeatable.learn(request.key, None)


def _configure(request: SessionRequest) -> CallFlow[Any]:
    body = _object(request.body)
    values = body.get("config", body)
    if not isinstance(values, dict):
        raise Unusable
    return whole_responses.configure(values, request.key)


def _extend(request: SessionRequest) -> CallFlow[Any]:
    return whole_responses.extend(extension(request.query), request.key)


def extension(query: bytes) -> int:
    """Return the seconds by which a query extends a session.

    Raises:
        Unusable: it is no whole number, or one that no date can be moved by.
    """
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("ttl_seconds")
    try:
        seconds = int(values[-1]) if values else DEFAULT_EXTENSION
    except ValueError:
        raise Unusable from None
    if abs(seconds) > LONGEST_TTL:
        raise Unusable
    return seconds


def _plain(flow: CallFlow[Any]) -> Callable[[SessionRequest], CallFlow[Any]]:
    return lambda request: flow


def _not_found(session_id: str) -> Reply:
    """Return the 404 of KATO's endpoint, which that of a session's description has."""
    return detail_reply(404, f"Session {session_id} not found or expired")


def _does_not_exist(session_id: str) -> Reply:
    return json_reply(200, {"exists": False, "expired": False, "session_id": session_id})


CALLS = (
    SessionCall("observe", "POST", "observe", _observe, has_body=True),
    SessionCall("predictions", "GET", "predictions", _plain(whole_responses.read("predictions"))),
    SessionCall("learn", "POST", "learn", _learn),
    SessionCall("stm", "GET", "stm", _plain(whole_responses.stm)),
    SessionCall("observe_sequence", "POST", "observe-sequence", _observe_sequence, has_body=True),
    SessionCall(
        "info", "GET", "", _plain(whole_responses.read("info")), _not_found, names_session=False
    ),
    SessionCall("delete", "DELETE", "", _plain(whole_responses.delete)),
    SessionCall(
        "exists",
        "GET",
        "exists",
        _plain(whole_responses.exists),
        _does_not_exist,
        names_session=False,
    ),
    SessionCall("config", "GET", "config", _plain(whole_responses.read("config"))),
    SessionCall("set_config", "POST", "config", _configure, has_body=True),
    SessionCall("extend", "POST", "extend", _extend),
    SessionCall(
        "clear_stm", "POST", "clear-stm", lambda request: whole_responses.clear_stm(request.key)
    ),
    SessionCall(
        "clear_all", "POST", "clear-all", lambda request: whole_responses.clear_all(request.key)
    ),
    SessionCall(
        "finalize_training",
        "POST",
        "finalize-training",
        lambda request: whole_responses.finalize_training(request.key),
    ),
    SessionCall(
        "percept_data", "GET", "percept-data", _plain(whole_responses.read("percept_data"))
    ),
    SessionCall("cognition_data", "GET", "cognition-data", _plain(whole_responses.cognition_data)),
)
"""All calls on a session. The most frequent are first: their paths are compared in this order."""


class _Created(msgspec.Struct):
    """The body of ``POST /sessions``."""

    node_id: str
    metadata: dict[str, Any] | None = None
    ttl_seconds: int | None = None
    config: dict[str, Any] | None = None


_created = _Decoder(_Created)


def session_asked_for(body: bytes) -> dict[str, Any]:
    """Return what a ``POST /sessions`` asks for.

    Raises:
        Unusable: KATO does not take it.
    """
    asked: dict[str, Any] = msgspec.structs.asdict(_created(body))
    if not 0 <= (asked["ttl_seconds"] or 0) <= LONGEST_TTL:
        raise Unusable
    if isinstance((asked["config"] or {}).get("max_pattern_length"), bool):
        raise Unusable  # KATO takes it for a number, and returns it as none
    return {name: value for name, value in asked.items() if value is not None}
