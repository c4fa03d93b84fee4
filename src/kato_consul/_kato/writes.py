"""Writes: the calls that change a session."""

from collections.abc import Mapping, Sequence
from typing import Any

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.journal import Journal
from kato_consul._kato.observations import to_json
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.plain_json import require_positive
from kato_consul._kato.types import (
    Acknowledgement,
    LearnResult,
    Observation,
    ObservationResult,
    SequenceResult,
)
from kato_consul._kato.write import Write


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


def set_config(values: Mapping[str, Any]) -> Write[Acknowledgement]:
    """Return the write that changes the session's configuration.

    KATO validates the values here, and saves the whole session.
    """

    def answer(session_id: str, after: Journal) -> Acknowledgement:
        return {"status": "okay", "message": "Configuration updated", "session_id": session_id}

    return Write(
        what="set_config",
        path="config",
        body=to_json({"config": dict(values)}),
        apply=lambda journal: journal.configured({**journal.config, **values}, values),
        answer_from_journal=answer,
        config=dict(values),
    )


def extend(ttl_seconds: int) -> Write[Acknowledgement]:
    """Return the write that sets the session to expire in ``ttl_seconds`` from now.

    KATO saves the whole session.

    Raises:
        ConfigurationError: it is no whole number above 0.
    """
    require_positive(ttl_seconds, "ttl_seconds")

    def answer(session_id: str, after: Journal) -> Acknowledgement:
        return {"status": "extended", "session_id": session_id, "ttl_seconds": ttl_seconds}

    return Write(
        what="extend",
        path=f"extend?ttl_seconds={ttl_seconds:d}",
        body=b"",
        apply=lambda journal: journal,
        answer_from_journal=answer,
        keeps_for=ttl_seconds,
    )


def clear_all() -> Write[Acknowledgement]:
    """Return the write that empties the short-term memory and deletes all that the node learned.

    It is once only: one that is applied late deletes what was learned after it.
    """

    def answer(session_id: str, after: Journal) -> Acknowledgement:
        return {"status": "cleared", "session_id": session_id, "scope": "all"}

    return Write(
        what="clear_all",
        path="clear-all",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=answer,
        once_only=True,
        resets=True,
    )


def clear_stm() -> Write[Acknowledgement]:
    """Return the write that empties the short-term memory and sets the counter to 0."""

    def answer(session_id: str, after: Journal) -> Acknowledgement:
        return {"status": "cleared", "session_id": session_id}

    return Write(
        what="clear_stm",
        path="clear-stm",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=answer,
        resets=True,
    )
