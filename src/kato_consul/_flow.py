"""Flows: every policy of more than one step is a plain generator.

A flow yields a `Step` ("send this request", "sleep that long", "wait until the snapshot changes")
and is sent back what came of it; it returns its result or raises an error of ours. It does no I/O,
reads no clock it was not given, and never sees an exception of the network: what went wrong with a
request arrives as a `Failure`, a value. So a rule is written once for sync and async, and tested as
a table. The two drivers that carry steps out are in `kato_consul._http`.

The manner is httpx's ``Auth.auth_flow``.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from kato_consul._observable import Observable
from kato_consul._protocols import Clock as Clock
from kato_consul._protocols import Random as Random


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send one HTTP request. Answered with a `Reply` or a `Failure`.

    ``origin`` is ``http://host:port``, ``https://host:port`` or ``unix:///path``; ``target`` is the
    path with its query, already escaped. ``timeout`` (seconds) bounds the whole exchange.
    """

    origin: str
    method: str
    target: str
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a token
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Hedge:
    """Step: send ``first``; if it is not answered after ``after`` seconds, send ``second`` as well,
    and end both with the first whole answer. Answered with a `Hedged`."""

    first: Send
    second: Send
    after: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Step: let ``seconds`` pass. Answered with ``None``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForChange:
    """Step: wait until ``board`` shows something other than ``seen``, at most ``timeout`` seconds.

    Answered with ``None`` either way: the flow looks at the board again.
    """

    observable: Observable[Any]
    seen: object
    timeout: float


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Step: keep no connection to ``origin`` any more; those in use end with their answers.

    Answered with ``None``. For an instance that left: the origin can be sent to again.
    """

    origin: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Cause(StrEnum):
    """Why no whole answer came."""

    CONNECT = "could not connect"
    TIMEOUT = "no answer in time"
    CUT = "connection cut"
    PROTOCOL = "not an HTTP answer"


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer. ``sent`` is False only if provably no byte of the request left.

    ``error`` is the engine's own exception, kept to be chained with ``raise … from``.
    """

    cause: Cause
    bytes_sent: bool
    detail: str
    error: Exception | None = None

    def __str__(self) -> str:
        return f"{self.cause} ({self.detail})" if self.detail else str(self.cause)


Outcome = Reply | Failure


@dataclass(frozen=True, slots=True)
class Hedged:
    """What came of both. None: it was given up, or for ``second`` never sent (``both`` False)."""

    first: Outcome | None
    second: Outcome | None
    both_sent: bool


Step = Send | Hedge | CloseConnections | Sleep | WaitForChange

T = TypeVar("T")
Flow = Generator[Step, Any, T]
"""A flow with result ``T``. Annotate what answers a step: ``outcome: Outcome = yield …``."""
