"""Writes: the calls that change a session. That of a sequence is in `sequence_write`."""

from collections.abc import Mapping
from typing import Any

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.journal import Journal, memory_length
from kato_consul._kato.observations import to_json
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.plain_json import require_positive
from kato_consul._kato.types import (
    Acknowledgement,
    LearnResult,
    Observation,
    ObservationResult,
)
from kato_consul._kato.write import ReadBack, Write


def observe(observation: Observation) -> Write[ObservationResult]:
    """Return the write that adds one observation."""

    def answer(read_back: ReadBack) -> ObservationResult:
        after = read_back.after
        return {
            "status": "okay",
            "session_id": read_back.session_id,
            "processor_id": read_back.node_id,
            "stm_length": memory_length(after.events),
            "time": after.time,
            "unique_id": None,
            "auto_learned_pattern": next(iter(read_back.learned), None),
        }

    return Write(
        what="observe",
        path="observe",
        body=to_json(observation),
        apply=lambda journal: journal.observed(observation),
        answer_read_back=answer,
        observations=[observation],
        shape=shapes.Observed,
        read_counters=lambda response: (response["time"], response["stm_length"]),
        read_patterns=lambda response: [response["auto_learned_pattern"]],
    )


def learn(pattern: PatternCount | None = None) -> Write[LearnResult]:
    """Return the write that learns the short-term memory as a pattern.

    ``pattern`` is that pattern as it is before, None if the memory makes none (a single symbol).
    """

    def answer(read_back: ReadBack) -> LearnResult:
        effect = "the memory was emptied" if pattern is None else "it was learned"
        return {
            "status": "learned",
            "pattern_name": "" if pattern is None else f"PTRN|{pattern.name}",
            "session_id": read_back.session_id,
            "processor_id": None,
            "message": f"the response was lost; the effect was read back: {effect}",
        }

    return Write(
        what="learn",
        path="learn",
        body=b"",
        shape=shapes.Learned,
        apply=Journal.learned,
        answer_read_back=answer,
        read_patterns=lambda response: [response["pattern_name"]],
        once_only=True,
        pattern=pattern,
    )


def set_config(values: Mapping[str, Any]) -> Write[Acknowledgement]:
    """Return the write that changes the session's configuration.

    KATO validates the values here, and saves the whole session.
    """

    def answer(read_back: ReadBack) -> Acknowledgement:
        return {
            "status": "okay",
            "message": "Configuration updated",
            "session_id": read_back.session_id,
        }

    return Write(
        what="set_config",
        path="config",
        body=to_json({"config": dict(values)}),
        apply=lambda journal: journal.configured({**journal.config, **values}, values),
        answer_read_back=answer,
        config=dict(values),
    )


def extend(ttl_seconds: int) -> Write[Acknowledgement]:
    """Return the write that sets the session to expire in ``ttl_seconds`` from now.

    KATO saves the whole session.

    Raises:
        ConfigurationError: it is no whole number above 0.
    """
    require_positive(ttl_seconds, "ttl_seconds")

    def answer(read_back: ReadBack) -> Acknowledgement:
        return {
            "status": "extended",
            "session_id": read_back.session_id,
            "ttl_seconds": ttl_seconds,
        }

    return Write(
        what="extend",
        path=f"extend?ttl_seconds={ttl_seconds:d}",
        body=b"",
        apply=lambda journal: journal,
        answer_read_back=answer,
        keeps_for=ttl_seconds,
    )


def clear_all() -> Write[Acknowledgement]:
    """Return the write that empties the short-term memory and deletes all that the node learned.

    It is once only: one that is applied late deletes what was learned after it.
    """

    def answer(read_back: ReadBack) -> Acknowledgement:
        return {"status": "cleared", "session_id": read_back.session_id, "scope": "all"}

    return Write(
        what="clear_all",
        path="clear-all",
        body=b"",
        apply=Journal.cleared,
        answer_read_back=answer,
        once_only=True,
        resets=True,
    )


def clear_stm() -> Write[Acknowledgement]:
    """Return the write that empties the short-term memory and sets the counter to 0."""

    def answer(read_back: ReadBack) -> Acknowledgement:
        return {"status": "cleared", "session_id": read_back.session_id}

    return Write(
        what="clear_stm",
        path="clear-stm",
        body=b"",
        apply=Journal.cleared,
        answer_read_back=answer,
        resets=True,
    )
