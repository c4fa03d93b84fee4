"""KATO's answers as typed dicts, as version 3.10.1 gives them.

An answer is the JSON object itself: fields that a newer KATO adds are in it too.
"""

from typing import Any, TypedDict

Event = list[str]
"""The symbols of one observation, sorted by KATO."""


class Observation(TypedDict, total=False):
    """What can be observed at once. Give at least one of the first three for KATO to see."""

    strings: list[str]
    vectors: list[list[float]]
    emotives: dict[str, float]
    metadata: dict[str, Any]
    unique_id: str
    """Comes back in the answer to a sequence; KATO does not keep it."""


class ObservationResult(TypedDict):
    """The answer to ``observe``.

    When the answer itself was lost and the outcome had to be read back, ``unique_id`` is None.
    """

    status: str
    session_id: str
    processor_id: str
    stm_length: int
    """Events in the short-term memory; observations without symbols are not counted."""
    time: int
    """Observations since the session began or its memory was cleared."""
    unique_id: str | None
    auto_learned_pattern: str | None


class SequenceResult(TypedDict):
    """The answer to ``observe_sequence``; ``results`` has one entry per observation."""

    status: str
    processor_id: str
    observations_processed: int
    initial_stm_length: int
    final_stm_length: int
    results: list[dict[str, Any]]
    auto_learned_patterns: list[str]
    final_learned_pattern: str | None
    isolated: bool


class LearnResult(TypedDict):
    """The answer to ``learn``. ``pattern_name`` is None when the answer was lost and read back."""

    status: str
    pattern_name: str | None
    session_id: str
    processor_id: str | None
    message: str | None


class Prediction(TypedDict):
    """One pattern that the short-term memory reminds KATO of.

    ``past``, ``present`` and ``future`` are lists of events. KATO gives more figures than are
    named here; they are in the dict.
    """

    name: str
    type: str
    frequency: int
    potential: float
    confidence: float
    evidence: float
    similarity: float
    past: list[Event]
    present: list[Event]
    future: list[Event]
    matches: list[str]
    missing: list[Event]
    extras: list[Event]
    emotives: dict[str, float]


class SessionInfo(TypedDict):
    """What KATO knows of a session. Times are ISO 8601 with a time zone."""

    session_id: str
    node_id: str
    created_at: str
    expires_at: str
    ttl_seconds: int
    metadata: dict[str, Any]
    session_config: dict[str, Any]


class PerceptData(TypedDict):
    """The last observation, as KATO took it."""

    strings: list[str]
    vectors: list[list[float]]
    emotives: dict[str, float]
    path: list[str]
    metadata: dict[str, Any]


class CognitionData(TypedDict):
    """What a session has in mind. ``time`` is its counter."""

    predictions: list[Prediction]
    emotives: dict[str, float]
    symbols: list[str]
    command: str
    metadata: dict[str, Any]
    path: list[str]
    strings: list[str]
    vectors: list[list[float]]
    short_term_memory: list[Event]
    time: int


class FinalizeResult(TypedDict):
    """The answer to ``finalize_training``."""

    status: str
    patterns_processed: int
    time_ms: float
    session_id: str | None
    node_id: str | None
    message: str | None
