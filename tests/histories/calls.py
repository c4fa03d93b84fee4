"""Calls on shared sessions: what a caller asks for, and what became of it, as lines of JSON.

Each process appends to a file of its own: one line before a call, and one after it. So a process
that is killed loses no more than the end of the call in hand.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from kato_consul.errors import KatoConsulError

Event = tuple[str, ...]


class Request(msgspec.Struct, frozen=True):
    """What a caller asks for: a method of the session with that key.

    ``events`` are the symbols of each observation, and no two are equal. ``chunk`` is that of a
    sequence. Requests with the same ``idempotency_key`` are the same; ``tries`` counts them.
    """

    key: str
    method: str
    events: tuple[Event, ...] = ()
    chunk: int = 100
    idempotency_key: str | None = None
    tries: int = 1

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the session's method."""
        options: dict[str, Any] = {}
        if self.idempotency_key is not None:
            options["idempotency_key"] = self.idempotency_key
        if self.method == "observe":
            return (self.events[0],), options
        if self.method == "observe_sequence":
            return (self.events,), {**options, "chunk": self.chunk}
        return (), options


class Begun(msgspec.Struct, frozen=True, tag=True):
    """The start of a call. ``deadline`` is in seconds, ``at`` on the machine's monotonic clock."""

    number: int
    at: float
    request: Request
    deadline: float


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The end of a call: its answer, or its error, with what that says."""

    number: int
    at: float
    answer: Any = None
    error: str = ""
    message: str = ""
    ours: bool = True
    denied: bool = False
    applied: int = 0
    takeovers: int = 0


class Made(msgspec.Struct):
    """One call, as its process recorded it: ``ended`` is None if the process did not live so long.

    ``number`` is unique in the process.
    """

    process: str
    number: int
    at: float
    request: Request
    deadline: float
    ended: Ended | None = None

    @property
    def succeeded(self) -> bool:
        """True if it returned."""
        return self.ended is not None and not self.ended.error

    @property
    def denied(self) -> bool:
        """True if it raised an error which says that nothing was applied."""
        return self.ended is not None and self.ended.denied

    @property
    def unknown(self) -> bool:
        """True if the caller cannot know whether it was applied."""
        return not self.succeeded and not self.denied

    @property
    def over(self) -> float:
        """When the effect of the call was there at the latest: infinite if that is unknown."""
        return self.ended.at if self.ended is not None and not self.unknown else inf


class Recorder:
    """Writes the history of one process. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._numbers = itertools.count()

    @contextmanager
    def call(self, request: Request, deadline: float, session: Any) -> Iterator[dict[str, Any]]:
        """Record the call in the block, which sets ``["answer"]``. An error is not raised further;
        it is set as ``["error"]``."""
        number = next(self._numbers)
        self._write(Begun(number, time.monotonic(), request, deadline))
        result: dict[str, Any] = {"answer": None, "error": None}
        facts: dict[str, Any] = {}
        try:
            yield result
        except KatoConsulError as error:
            result["error"] = error
            facts = {
                "error": type(error).__name__,
                "message": str(error),
                "denied": error.sent is False or error.safe_to_resend is True,
                "applied": error.applied,
            }
        except Exception as error:  # noqa: BLE001  # the checker reports it
            result["error"] = error
            facts = {"error": type(error).__name__, "message": repr(error), "ours": False}
        else:
            if request.method != "predictions":
                facts = {"answer": result["answer"]}
        facts["takeovers"] = session.facts.takeovers
        self._write(Ended(number, time.monotonic(), **facts))

    def _write(self, line: Begun | Ended) -> None:
        os.write(self._file, msgspec.json.encode(line) + b"\n")


def read_calls(paths: Iterable[Path]) -> list[Made]:
    """Read the histories of processes, each in a file with its name."""
    return [call for path in paths for call in _calls_of(path)]


def _calls_of(path: Path) -> list[Made]:
    calls: dict[int, Made] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:  # without one that was cut
        event = _DECODER.decode(line)
        if isinstance(event, Begun):
            made = Made(path.stem, event.number, event.at, event.request, event.deadline)
            calls[event.number] = made
        else:
            calls[event.number].ended = event
    return list(calls.values())


_DECODER: msgspec.json.Decoder[Begun | Ended] = msgspec.json.Decoder(Begun | Ended)
