"""Flows: operations of more than one step, as plain generators.

A flow yields a `Step` ("send this request", "sleep that long", "wait until the snapshot changes"),
and the driver sends the outcome back into it. It returns its result or raises a `KatoConsulError`.
It does no I/O, reads no clock other than the one it was given, and never handles an exception of
the network: a request that failed is a `Failure`, a value. So each rule is written once for sync
and async, and tested as a table. The two drivers that execute steps are
`kato_consul._sync.driver` and `kato_consul._async.driver`.

httpx's ``Auth.auth_flow`` works the same way.

`Send` and `Reply` are msgspec structs, because each call makes them: a frozen dataclass costs
several times as much to make.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from kato_consul._observable import Observable
from kato_consul._protocols import Clock as Clock
from kato_consul._protocols import Random as Random
from kato_consul._secret import Secret


class Send(msgspec.Struct, frozen=True):
    """Step: send one HTTP request. Its outcome is a `Reply` or a `Failure`.

    ``origin`` is ``http://host:port``, ``https://host:port`` or ``unix:///path``; that of KATO may
    have a path, which is put before ``target``. ``target`` is the path with its query, already
    escaped. ``timeout`` (seconds) limits the whole exchange.
    """

    origin: str
    method: str
    target: str
    timeout: float
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        """Return it without its headers, which may hold a token."""
        return f"<Send {self.method} {self.origin}{self.target} {self.timeout:g} s {self.body!r}>"


@dataclass(frozen=True, slots=True)
class Hedge:
    """Step: send ``first``; if there is no response after ``after`` seconds, send ``second`` as
    well, and end both at the first complete response. Its outcome is a `Hedged`."""

    first: Send
    second: Send
    after: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Step: wait ``seconds``. Its outcome is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForChange:
    """Step: wait until the value of ``observable`` is not ``seen``, at most ``timeout`` seconds.

    Its outcome is None in both cases: the flow reads the observable again.
    """

    observable: Observable[Any]
    seen: object
    timeout: float


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Step: close all connections to ``origin``; those in use are closed after their response.

    Its outcome is None. It is for an instance that was deregistered; later requests to the origin
    open new connections.
    """

    origin: str


@dataclass(frozen=True, slots=True)
class RedisCommands:
    """Step: send commands to a Redis server. Its outcome is a `RedisReply`, a `RedisRefused` or a
    `Failure`.

    They are sent at once, in this order, on a connection that carries nothing else meanwhile: so
    one may block, and a ``WAIT`` is about those before it. ``url`` is ``redis://…`` or
    ``rediss://…``. ``timeout`` (seconds) limits the whole exchange.
    """

    url: Secret
    commands: tuple[tuple[str | bytes | int, ...], ...] = field(repr=False)  # observations
    timeout: float


@dataclass(frozen=True, slots=True)
class RedisReply:
    """Redis' replies, one for each command: None, an int, bytes, or a list of these."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class RedisRefused:
    """Redis replied with an error to a command, or to the login before it. ``code`` is its first
    word, such as ``OOM``, ``NOSCRIPT`` or ``ERR``."""

    code: str
    message: str


class Reply(msgspec.Struct, frozen=True):
    """A complete HTTP response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Cause(StrEnum):
    """Why there is no complete response."""

    CONNECT = "could not connect"
    TLS = "no TLS connection"
    NOT_TLS = "it does not speak TLS"
    TIMEOUT = "no answer in time"
    CUT = "connection cut"
    PROTOCOL = "not an HTTP answer"
    CLOSED = "this client was closed"


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete response. ``bytes_sent`` is False only if certainly no byte of the request left,
    or if the server refused the TLS handshake, after which it reads none.

    ``detail`` is the engine's description. ``error`` is the engine's own exception, to be chained
    with ``raise … from``.
    """

    cause: Cause
    bytes_sent: bool
    detail: str
    error: Exception | None = None

    def __str__(self) -> str:
        return f"{self.cause} ({self.detail})" if self.detail else str(self.cause)


Outcome = Reply | Failure
RedisOutcome = RedisReply | RedisRefused | Failure


@dataclass(frozen=True, slots=True)
class Hedged:
    """The outcomes of both requests. None: the request was abandoned, or, for ``second`` if
    ``both_sent`` is False, never sent."""

    first: Outcome | None
    second: Outcome | None
    both_sent: bool


def cut_by_closing(outcome: Outcome) -> Outcome:
    """Return the outcome of a request that was in flight when the client was closed: a failure says
    nothing about the instance then."""
    if isinstance(outcome, Failure):
        return Failure(Cause.CLOSED, outcome.bytes_sent, "", outcome.error)
    return outcome


def may_have_been_sent(outcome: Outcome | Hedged | RedisOutcome | None) -> bool:
    """Return whether a request that failed with this outcome may have left this machine."""
    if isinstance(outcome, Hedged):
        return may_have_been_sent(outcome.first) or may_have_been_sent(outcome.second)
    return isinstance(outcome, Failure) and outcome.bytes_sent


Step = Send | Hedge | CloseConnections | Sleep | WaitForChange | RedisCommands

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}
"""The headers of a request with a JSON body."""

LONG_WAIT = 3600.0
"""Seconds to wait for a change where a flow has nothing else to do. Every change ends the wait, so
the value does not matter."""

CLOSE_TIMEOUT = 5.0
"""Seconds after which closing a client ends although something of it still runs: a name lookup, for
one, cannot be interrupted."""

T = TypeVar("T")
Flow = Generator[Step, Any, T]
"""A flow with result ``T``. Annotate the outcome of a step: ``outcome: Outcome = yield …``."""
