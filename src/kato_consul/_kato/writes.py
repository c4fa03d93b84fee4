"""Writes: the calls that change a session, each with what is needed to settle it.

A `Write` has its request, its effect on the journal, the counter that KATO must return, and the
result to return if KATO's response was lost and the effect was read back instead.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.journal import MAX_STM_EVENTS, Journal, makes_event
from kato_consul._kato.observations import to_json
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.plain_json import require_positive
from kato_consul._kato.types import LearnResult, Observation, ObservationResult, SequenceResult
from kato_consul._requests.request import Request

R = TypeVar("R")


def _no_counters(response: Any) -> None:
    return None


def _no_answer(session_id: str, after: Journal) -> None:
    return None


def _no_patterns(response: Any) -> list[str | None]:
    return []


class Write(msgspec.Struct, Generic[R], frozen=True, eq=False):
    """One change of a session.

    ``what`` names the call in errors and logs. ``path`` is relative to the session's URL, ``body``
    is JSON. ``apply`` returns a journal after the change. ``answer_from_journal`` builds the result
    from the session's id and the journal after the change. ``observations`` are those that it adds.
    ``shape`` is what KATO's response must match. ``read_counters`` returns the counter and the
    number of events in KATO's response, None if it has neither. ``read_patterns`` returns the names
    of the patterns that the response says were learned.

    ``config`` are the settings that it changes, None if it changes none: they are not seen in the
    counter and the memory. ``once_only``: applying it twice leaves a trace that no session shows,
    so it is never sent again while it may have been applied. ``resets``: its result does not depend
    on the session's earlier state. ``pattern`` is what a learn will learn, if that is known.
    ``part`` is what it does of a call that has an idempotency key or a position.
    """

    what: str
    path: str
    body: bytes
    apply: Callable[[Journal], Journal]
    answer_from_journal: Callable[[str, Journal], R]
    observations: Sequence[Observation] = ()
    shape: type[Any] = shapes.Status
    read_counters: Callable[[Any], tuple[int, int] | None] = _no_counters
    read_patterns: Callable[[Any], list[str | None]] = _no_patterns
    config: Mapping[str, Any] | None = None
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
        return counters == (after.time, min(after.events, MAX_STM_EVENTS))

    def learned_patterns(self, response: Any) -> list[str]:
        """Return the names of the patterns that KATO learned, as its response says."""
        try:
            names = self.read_patterns(response)
        except (KeyError, TypeError):
            return []
        return [name for name in dict.fromkeys(names) if name]


def observe(observation: Observation) -> Write[ObservationResult]:
    """Return the write that adds one observation."""

    def answer(session_id: str, after: Journal) -> ObservationResult:
        return {
            "status": "okay",
            "session_id": session_id,
            "processor_id": "",
            "stm_length": after.events,
            "time": after.time,
            "unique_id": None,
            "auto_learned_pattern": None,
        }

    return Write(
        what="observe",
        path="observe",
        body=to_json(observation),
        apply=lambda journal: journal.observed(observation),
        answer_from_journal=answer,
        observations=[observation],
        shape=shapes.Observed,
        read_counters=lambda response: (response["time"], response["stm_length"]),
        read_patterns=lambda response: [response["auto_learned_pattern"]],
    )


def _sequence_counters(response: Any) -> tuple[int, int] | None:
    results = response["results"]
    return (results[-1]["time"], response["final_stm_length"]) if results else None


def observe_sequence(
    observations: Sequence[Observation],
    *,
    learn_after_each: bool = False,
    clear_stm_between: bool = False,
) -> Write[SequenceResult]:
    """Return the write that adds several observations in one call.

    KATO saves the session once, at the end: it applies all of them or none. ``learn_after_each``
    learns the memory after each observation. ``clear_stm_between`` empties the memory before each
    observation but the first.
    """
    body = to_json(
        {
            "observations": observations,
            "learn_after_each": learn_after_each,
            "learn_at_end": False,  # `observe_chunks` learns by itself: see there
            "clear_stm_between": clear_stm_between,
        }
    )

    def apply(journal: Journal) -> Journal:
        for position, observation in enumerate(observations):
            if clear_stm_between and position:
                journal = journal.emptied()
            journal = journal.observed(observation)
            if learn_after_each and journal.events:
                journal = journal.learned()
        return journal

    def answer(session_id: str, after: Journal) -> SequenceResult:
        first = after.time - len(observations) + 1
        return {
            "status": "completed",
            "processor_id": "",
            "observations_processed": len(observations),
            "initial_stm_length": 0,
            "final_stm_length": after.events,
            "results": [
                {"status": "okay", "sequence_position": position, "time": first + position}
                for position in range(len(observations))
            ],
            "auto_learned_patterns": [],
            "final_learned_pattern": None,
            "isolated": clear_stm_between,
        }

    return Write(
        what=f"observe_sequence of {len(observations)}",
        path="observe-sequence",
        body=body,
        apply=apply,
        answer_from_journal=answer,
        observations=observations,
        shape=shapes.ObservedSequence,
        read_counters=_sequence_counters,
        read_patterns=lambda response: response["auto_learned_patterns"],
        once_only=learn_after_each,
    )


def learn(pattern: PatternCount | None = None) -> Write[LearnResult]:
    """Return the write that learns the short-term memory as a pattern.

    ``pattern`` is that pattern as it is before, None if the memory makes none (a single symbol).
    """

    def answer(session_id: str, after: Journal) -> LearnResult:
        effect = "the memory was emptied" if pattern is None else "it was learned"
        return {
            "status": "learned",
            "pattern_name": "" if pattern is None else f"PTRN|{pattern.name}",
            "session_id": session_id,
            "processor_id": None,
            "message": f"the response was lost; the effect was read back: {effect}",
        }

    return Write(
        what="learn",
        path="learn",
        body=b"",
        shape=shapes.Learned,
        apply=Journal.learned,
        answer_from_journal=answer,
        read_patterns=lambda response: [response["pattern_name"]],
        once_only=True,
        pattern=pattern,
    )


def set_config(values: Mapping[str, Any]) -> Write[None]:
    """Return the write that changes the session's configuration.

    KATO validates the values here, and saves the whole session.
    """
    return Write(
        what="set_config",
        path="config",
        body=to_json({"config": dict(values)}),
        apply=lambda journal: journal.configured({**journal.config, **values}, values),
        answer_from_journal=_no_answer,
        config=dict(values),
    )


def extend(ttl_seconds: int) -> Write[None]:
    """Return the write that sets the session to expire in ``ttl_seconds`` from now.

    KATO saves the whole session.

    Raises:
        ConfigurationError: it is no whole number above 0.
    """
    require_positive(ttl_seconds, "ttl_seconds")
    return Write(
        what="extend",
        path=f"extend?ttl_seconds={ttl_seconds:d}",
        body=b"",
        apply=lambda journal: journal,
        answer_from_journal=_no_answer,
    )


def clear_all() -> Write[None]:
    """Return the write that empties the short-term memory and deletes all that the node learned.

    It is once only: one that is applied late deletes what was learned after it.
    """
    return Write(
        what="clear_all",
        path="clear-all",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=_no_answer,
        once_only=True,
        resets=True,
    )


def clear_stm() -> Write[None]:
    """Return the write that empties the short-term memory and sets the counter to 0."""
    return Write(
        what="clear_stm",
        path="clear-stm",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=_no_answer,
        resets=True,
    )
