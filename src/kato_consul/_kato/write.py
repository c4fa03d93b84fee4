"""Write: one call that changes a session, with what is needed to settle it.

It has its request, its effect on the journal, the counter that KATO must return, and the result to
return if KATO's response was lost and the effect was read back instead. `writes` has all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.journal import Journal, makes_event, memory_length
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.types import Observation
from kato_consul._requests.request import Request

R = TypeVar("R")


def _no_counters(response: Any) -> None:
    return None


def _no_patterns(response: Any) -> list[str | None]:
    return []


class ReadBack(NamedTuple):
    """What is known of a write that was applied, and of which KATO's response is lost.

    ``session_id`` is KATO's, ``before`` and ``after`` are the journals around the write: of an
    earlier call's only the counters, None if not even these are known. ``learned`` are the names of
    the patterns that KATO learned by itself, if they are known.
    """

    session_id: str
    node_id: str
    before: Journal | None
    after: Journal
    learned: Sequence[str] = ()


class Write(msgspec.Struct, Generic[R], frozen=True, eq=False):
    """One change of a session.

    ``what`` names the call in errors and logs. ``path`` is relative to the session's URL, ``body``
    is JSON. ``apply`` returns a journal after the change. ``answer_read_back`` builds the result if
    the response is lost. ``observations`` are those that it adds.
    ``shape`` is what KATO's response must match. ``read_counters`` returns the counter and the
    number of events in KATO's response, None if it has neither. ``read_patterns`` returns the names
    of the patterns that the response says were learned.

    ``config`` are the settings that it changes, None if it changes none: they are not seen in the
    counter and the memory. ``keeps_for`` are the seconds from now for which KATO keeps the session,
    None for the session's own. ``once_only``: applying it twice leaves a trace that no session
    shows, so it is never sent again while it may have been applied. ``resets``: its result does not
    depend on the session's earlier state. ``pattern`` is what a learn will learn, if that is known.
    ``part`` is what it does of a call that has an idempotency key or a position.
    """

    what: str
    path: str
    body: bytes
    apply: Callable[[Journal], Journal]
    answer_read_back: Callable[[ReadBack], R]
    observations: Sequence[Observation] = ()
    shape: type[Any] = shapes.Status
    read_counters: Callable[[Any], tuple[int, int] | None] = _no_counters
    read_patterns: Callable[[Any], list[str | None]] = _no_patterns
    config: Mapping[str, Any] | None = None
    keeps_for: int | None = None
    once_only: bool = False
    resets: bool = False
    pattern: PatternCount | None = None
    part: CallPart | None = None

    def of(self, part: CallPart | None) -> "Write[R]":
        """Return the write as a part of a call."""
        return self if part is None else msgspec.structs.replace(self, part=part)

    def request(
        self, session_id: str, timeout: float, *, follow_up: bool = False, once_only: bool = False
    ) -> Request:
        """Return the request for a session.

        ``timeout`` is in seconds, for one attempt. ``follow_up``: it is a retry, or part of a
        repair, and counts against the retry budget. ``once_only``: see `is_once_only`.
        """
        return Request(
            self.what,
            "POST",
            f"/sessions/{session_id}/{self.path}",
            self.body,
            timeout=timeout,
            shape=self.shape,
            follow_up=follow_up,
            once_only=once_only,
        )

    @property
    def is_learn(self) -> bool:
        """True if it is the call ``learn``."""
        return self.once_only and not self.observations and not self.resets

    @property
    def learns_same_memory(self) -> bool:
        """True if the memory as it is now is (the first of) what it learns."""
        adds_event = bool(self.observations) and makes_event(self.observations[0])
        return self.once_only and not self.resets and not adds_event

    @property
    def clears_only(self) -> bool:
        """True if it only empties the memory."""
        return self.resets and not self.once_only

    def is_once_only(self, before: Journal) -> bool:
        """Return whether it is `once_only` on top of ``before``: if KATO would learn by itself."""
        if self.once_only or not self.observations or not before.auto_learn.length:
            return self.once_only
        return self.apply(before).learns > before.learns

    def is_expected(self, after: Journal, response: Any) -> bool:
        """Return whether KATO's response is the one that leads to ``after``."""
        counters = self.read_counters(response)
        if counters is None:
            return not self.observations
        time, events = counters  # a sequence is counted before KATO drops the oldest events
        return (time, memory_length(events)) == (after.time, memory_length(after.events))

    def learned_patterns(self, response: Any) -> list[str]:
        """Return the names of the patterns that KATO learned, as its response says."""
        try:
            names = self.read_patterns(response)
        except (KeyError, TypeError):
            return []
        return [name for name in dict.fromkeys(names) if name]
