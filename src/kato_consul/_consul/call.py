"""Consul calls: one request to Consul's HTTP API, and the flows that execute it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from kato_consul._backoff import CONSUL_WAIT, full_jitter, retry_after
from kato_consul._flow import Clock, Failure, Flow, Outcome, Random, Reply, Send, Sleep
from kato_consul._secret import Secret
from kato_consul.errors import (
    ConsulDenied,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
    excerpt,
)

T = TypeVar("T")

CONSUL_TIMEOUT = 10.0
"""Seconds that an ordinary response of Consul may take: an agent tries to reach a leader for 7 s
(rpc_hold_timeout), and then gives up itself."""


SHORTEST_TIMEOUT = 1.0
"""Seconds that a call may take at least, however little time is left for it."""


def no_token() -> Secret:
    """Return an empty token."""
    return Secret("")


@dataclass(frozen=True, slots=True)
class ConsulCall(Generic[T]):
    """One request to Consul.

    ``what`` describes it in error messages, such as "listing services". ``parse`` reads the
    response. With ``not_found_ok`` a 404 means that the named thing does not exist, and is parsed;
    otherwise a 404 means that the endpoint does not exist, and is an error. With ``conflict_ok`` a
    409 is parsed, too: the answer to a transaction that was refused. ``token`` returns the ACL
    token: it is asked for each time the request is sent, since tokens are rotated.
    """

    what: str
    send: Send
    parse: Callable[[Reply], T]
    not_found_ok: bool = False
    conflict_ok: bool = False
    token: Callable[[], Secret] = no_token

    def with_timeout(self, seconds: float) -> "ConsulCall[T]":
        """Return the same call with another timeout."""
        return replace(self, send=msgspec.structs.replace(self.send, timeout=seconds))

    def on_its_own_connection(self) -> "ConsulCall[T]":
        """Return the same call on a connection that is closed after it."""
        headers = {**self.send.headers, "Connection": "close"}
        return replace(self, send=msgspec.structs.replace(self.send, headers=headers))

    def within(self, seconds: float) -> "ConsulCall[T]":
        """Return the same call with a timeout that ends within the time that is left, but for
        `SHORTEST_TIMEOUT`."""
        return self.with_timeout(min(self.send.timeout, max(seconds, SHORTEST_TIMEOUT)))

    def with_parameter(self, name: str, value: str = "") -> "ConsulCall[T]":
        """Return the same call with one more query parameter."""
        separator = "&" if "?" in self.send.target else "?"
        target = f"{self.send.target}{separator}{urlencode([(name, value)])}"
        return replace(self, send=msgspec.structs.replace(self.send, target=target))


_NOT_FOUND = ("does not have associated TTL", "Unknown service", "Unknown check")
"""What agents return for a service or check that they do not have. Before 1.9 or so the status is
500 or 200 instead of 404."""

_UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What `ConsulCall.parse` raises for a response that does not match the API's documentation: also
for numbers that are too large, and JSON that is nested too deeply."""


def call_consul(call: ConsulCall[T]) -> Flow[T]:
    """Flow: execute one call once, and return its parsed response. A request that was denied is
    sent again if the token was replaced meanwhile.

    Raises:
        ConsulUnreachable: no response.
        ConsulUnavailable: 429 or 5xx; ``retry_after`` is set if the response has that header.
        ConsulDenied: 401 or 403.
        ConsulRejected: another 4xx, a redirection, or a body that cannot be parsed.
    """
    token = call.token()
    while True:
        try:
            return (yield from _call_with_token(call, token))
        except ConsulDenied:
            used, token = token, call.token()
            if token == used:
                raise


def _call_with_token(call: ConsulCall[T], token: Secret) -> Flow[T]:
    address, send = call.send.origin, call.send
    if token:
        send = msgspec.structs.replace(
            send, headers={**send.headers, "X-Consul-Token": token.reveal()}
        )
    outcome: Outcome = yield send
    if isinstance(outcome, Failure):
        raise ConsulUnreachable(address, str(outcome), sent=outcome.bytes_sent) from outcome.error
    body = outcome.body.decode("utf-8", "replace")
    if call.not_found_ok and any(text in body for text in _NOT_FOUND):
        outcome = msgspec.structs.replace(outcome, status=404)
    if outcome.status == 429 or outcome.status >= 500:
        # Agents before 1.11 return 500 for a token that the servers do not have.
        if "ACL not found" in body or "Permission denied" in body:
            raise ConsulDenied(address, call.what, body)
        if "boolean expression" in body:  # an invalid filter; the status is 400 since 1.15 or so
            raise ConsulRejected(address, call.what, outcome.status, body)
        raise ConsulUnavailable(address, outcome.status, body, retry_after(outcome.headers))
    if outcome.status in (401, 403):
        raise ConsulDenied(address, call.what, body)
    if outcome.status == 404 and not call.not_found_ok and "Query not found" not in body:
        body = f"{excerpt(body, 200)} (is this a Consul agent?)"
    accepted = (outcome.status == 404 and call.not_found_ok) or (
        outcome.status == 409 and call.conflict_ok
    )
    if outcome.status >= 300 and not accepted:
        body = outcome.headers.get("location", body)
        raise ConsulRejected(address, call.what, outcome.status, body)
    try:
        return call.parse(outcome)
    except _UNREADABLE as error:
        raise ConsulRejected(address, call.what, outcome.status, f"unreadable: {error}") from error


def call_consul_with_retry(
    call: ConsulCall[T], within: float, *, clock: Clock, random: Random
) -> Flow[T]:
    """Flow: execute a call, and retry it for ``within`` seconds while the agent is unreachable or
    unavailable: not started yet, or without a leader. An agent that hangs has the same time.

    Raises:
        ConsulError: the last error, when the time is over; at once, if a retry cannot help.
    """
    deadline = clock() + within
    pauses = full_jitter(CONSUL_WAIT, random)
    while True:
        try:
            return (yield from call_consul(call.within(deadline - clock())))
        except (ConsulUnreachable, ConsulUnavailable) as error:
            remaining = deadline - clock()
            if remaining <= 0:
                raise
            yield Sleep(min(next(pauses) + (error.retry_after or 0.0), remaining))
