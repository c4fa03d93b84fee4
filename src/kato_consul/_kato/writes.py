"""Writes: the calls that change a session, each with what is needed to settle it.

A `Write` has its request, its effect on the journal, the counter that KATO must return, and the
result to return if KATO's response was lost and the effect was read back instead.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.journal import MAX_STM_EVENTS, Journal, makes_event
from kato_consul._kato.types import (
    LearnResult,
    Observation,
    ObservationResult,
    SequenceResult,
)
from kato_consul._requests.request import Request

R = TypeVar("R")
_to_json = msgspec.json.encode


def _no_counters(response: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Write(Generic[R]):
    """One change of a session.

    ``what`` names the call in errors and logs. ``path`` is relative to the session's URL, ``body``
    is JSON. ``apply`` applies the change to a journal. ``answer_from_journal`` builds the result
    from the session's id and the journal after the change. ``observations`` are those that it adds.
    ``shape`` is what KATO's response must match. ``read_counters`` returns the counter and the
    number of events in KATO's response, None if it has neither.

    ``not_repeatable``: applying it twice leaves no trace in the session and cannot be undone, so it
    is never sent again while it may still be applied. ``resets``: its result does not depend on the
    session's earlier state. ``learns``: it learns the short-term memory for good, and its response
    has no counter, so the memory is read before it.
    """

    what: str
    path: str
    body: bytes
    apply: Callable[[Journal], None]
    answer_from_journal: Callable[[str, Journal], R]
    observations: Sequence[Observation] = ()
    shape: type[Any] = shapes.Status
    read_counters: Callable[[Any], tuple[int, int] | None] = _no_counters
    not_repeatable: bool = False
    resets: bool = False
    learns: bool = False

    def request(self, session_id: str, timeout: float, *, follow_up: bool = False) -> Request:
        """Return the request for a session.

        ``timeout`` is in seconds, for one attempt. ``follow_up``: it is a retry, or part of a
        repair, and counts against the retry budget.
        """
        target = f"/sessions/{session_id}/{self.path}"
        return Request(
            self.what,
            "POST",
            target,
            self.body,
            timeout=timeout,
            shape=self.shape,
            follow_up=follow_up,
        )

    def is_expected(self, before: Journal, response: Any) -> bool:
        """Return whether the counters in KATO's response are those that follow from ``before``."""
        counters = self.read_counters(response)
        if counters is None:
            return not self.observations
        if len(self.observations) == 1 and not before.max_pattern_length and not self.learns:
            # The common case, without a copy: one more observation, and perhaps one more event.
            events = before.events + makes_event(self.observations[0])
            return counters == (before.time + 1, min(events, MAX_STM_EVENTS))
        after = before.copy()
        self.apply(after)
        return counters == (after.time, min(after.events, MAX_STM_EVENTS))


def observation(
    strings: Iterable[str] | None,
    vectors: Iterable[Iterable[float]] | None,
    emotives: dict[str, float] | None,
    metadata: dict[str, Any] | None,
) -> Observation:
    """Return an observation with the given parts. See `Observation` for shapes and ranges."""
    result: Observation = {}
    if strings is not None:
        # A plain string is a mistake, and KATO refuses it. list() would turn it into its letters.
        result["strings"] = strings if isinstance(strings, str) else list(strings)  # type: ignore[typeddict-item]
    if vectors is not None:
        result["vectors"] = [list(vector) for vector in vectors]
    if emotives is not None:
        result["emotives"] = dict(emotives)
    if metadata is not None:
        result["metadata"] = dict(metadata)
    return result


def observations(events: Iterable[Observation | Sequence[str]]) -> list[Observation]:
    """Return the events as observations. A list of strings becomes one with these strings."""
    return [
        event if isinstance(event, dict) else observation(event, None, None, None)
        for event in events
    ]


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
        body=_to_json(observation),
        apply=lambda journal: journal.record_observation(observation),
        answer_from_journal=answer,
        observations=[observation],
        shape=shapes.Observed,
        read_counters=lambda response: (response["time"], response["stm_length"]),
    )


def _sequence_counters(response: Any) -> tuple[int, int] | None:
    results = response["results"]
    return (results[-1]["time"], response["final_stm_length"]) if results else None


def observe_sequence(
    observations: Sequence[Observation],
    *,
    learn_after_each: bool = False,
    learn_at_end: bool = False,
    clear_stm_between: bool = False,
) -> Write[SequenceResult]:
    """Return the write that adds several observations in one call.

    KATO saves the session once, at the end: it applies all of them or none. ``learn_after_each``
    and ``learn_at_end`` learn the memory after each observation or after the last one.
    ``clear_stm_between`` empties the memory before each observation but the first.
    """
    body = _to_json(
        {
            "observations": observations,
            "learn_after_each": learn_after_each,
            "learn_at_end": learn_at_end,
            "clear_stm_between": clear_stm_between,
        }
    )

    def apply(journal: Journal) -> None:
        for position, observation in enumerate(observations):
            if clear_stm_between and position:
                journal.record_learn()  # no events, same counter: as after a learn
            journal.record_observation(observation)
            if learn_after_each and journal.events:
                journal.record_learn()
        if learn_at_end and observations and journal.events:
            journal.record_learn()

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
        learns=learn_after_each or learn_at_end,
    )


def learn() -> Write[LearnResult]:
    """Return the write that learns the short-term memory as a pattern.

    It is not repeatable: learned twice, the pattern's frequency is 2.
    """

    def answer(session_id: str, after: Journal) -> LearnResult:
        return {
            "status": "learned",
            "pattern_name": None,
            "session_id": session_id,
            "processor_id": None,
            "message": "the response was lost; the short-term memory is empty, so it was learned",
        }

    return Write(
        what="learn",
        path="learn",
        body=b"",
        shape=shapes.Learned,
        apply=Journal.record_learn,
        answer_from_journal=answer,
        not_repeatable=True,
        learns=True,
    )


def set_config(values: Mapping[str, Any]) -> Write[None]:
    """Return the write that changes the session's configuration.

    KATO validates the values here, and saves the whole session.
    """
    return Write(
        what="set_config",
        path="config",
        body=_to_json({"config": dict(values)}),
        apply=lambda journal: journal.configure(values),
        answer_from_journal=lambda session_id, after: None,
    )


def extend(ttl_seconds: int) -> Write[None]:
    """Return the write that sets the session to expire in ``ttl_seconds`` from now.

    KATO saves the whole session.
    """
    return Write(
        what="extend",
        path=f"extend?ttl_seconds={ttl_seconds:d}",
        body=b"",
        apply=lambda journal: None,
        answer_from_journal=lambda session_id, after: None,
    )


def clear_all() -> Write[None]:
    """Return the write that empties the short-term memory and deletes all that the node learned."""
    return Write(
        what="clear_all",
        path="clear-all",
        body=b"",
        apply=Journal.record_clear,
        answer_from_journal=lambda session_id, after: None,
        resets=True,
    )


def clear_stm() -> Write[None]:
    """Return the write that empties the short-term memory and sets the counter to 0."""
    return Write(
        what="clear_stm",
        path="clear-stm",
        body=b"",
        apply=Journal.record_clear,
        answer_from_journal=lambda session_id, after: None,
        resets=True,
    )
