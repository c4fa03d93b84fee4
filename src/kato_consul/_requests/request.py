"""Requests, routing hints and answers: what a call to a service takes and returns.

They are msgspec structs, because some are made for each call: a frozen dataclass costs several
times as much to make.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kato_consul._flow import Reply
from kato_consul._requests.classify import KATO_RULES, AnswerPolicy
from kato_consul.models import Instance


class Request(msgspec.Struct, frozen=True, eq=False):
    """One HTTP request that any instance of the service can serve.

    Args:
        what: The request's name in error messages.
        method: The HTTP method.
        target: The path with its query, already escaped.
        body: The JSON body; empty for none.
        repeatable: True if sending it twice has the same effect as once (a read or an idempotent
            write).
        timeout: Seconds for one attempt, above 0.
        needs: Fields that the JSON object of a successful reply must have.
        shape: A msgspec struct that it must match: the fields that are read from it. None: any.
        follow_up: True if it is sent only because an earlier request failed. Then its first
            attempt consumes retry budget, too.
        answer_policy: Which outcomes are its answer.
        wait: Seconds to wait for a usable instance; None: until the deadline.
        once_only: True if KATO's 404 does not prove that it was not applied, so that it is not
            sent again after one.
        headers: Further headers, by name.
    """

    what: str
    method: str
    target: str
    body: bytes = b""
    repeatable: bool = False
    timeout: float = 10.0
    needs: tuple[str, ...] = ()
    shape: type[Any] | None = None
    follow_up: bool = False
    answer_policy: AnswerPolicy = KATO_RULES
    once_only: bool = False
    wait: float | None = None
    headers: Mapping[str, str] = {}


class RoutingHint(msgspec.Struct):
    """Where the request of a session should go, and whether it has left.

    Args:
        key: Ranks the instances (the session id).
        current: Uid of the instance to try first, or "".
        avoid: Uid of an instance to leave out of the first round, or "".
        in_flight: Set by the call: True while it is being sent, or waits for its response.
    """

    key: str
    current: str = ""
    avoid: str = ""
    in_flight: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The reply to a request, the instance that sent it, and the number of failed attempts."""

    reply: Reply
    instance: Instance
    failovers: int = 0
