"""KATO's session responses as typed dicts, as KATO 3.10.1 returns them.

A response is KATO's JSON object itself: fields that a newer KATO adds are in it too. The fields and
ranges are those of KATO's API reference
(https://github.com/sevakavakians/kato/tree/main/docs/reference/api).
"""

from typing import Any, TypedDict

Event = list[str]
"""The symbols of one event of the short-term memory, sorted by KATO."""


class Observation(TypedDict, total=False):
    """One observation. All fields are optional.

    ``strings`` and ``vectors`` become one event of the short-term memory. An observation with
    neither adds no event and only increments the counter.
    """

    strings: list[str]
    """Symbols, in any order. KATO sorts them, unless ``sort_symbols`` is off."""
    vectors: list[list[float]]
    """A list of vectors of equal length, shape (count, length). KATO adds them to one vector and
    stores its symbol, ``VCTR|<hash>``, with those of the nearest vectors that the node has. The
    first vector of a node fixes the length for all later ones
    (https://github.com/sevakavakians/kato/blob/main/kato/workers/vector_processor.py)."""
    emotives: dict[str, float]
    """Name to value. KATO accepts any number; its documentation uses -1.0 to 1.0."""
    metadata: dict[str, Any]
    """A JSON object. A learned pattern keeps the distinct values of each key, as strings."""
    unique_id: str
    """Only in sequences: KATO returns it in the response and does not store it."""


class ObservationResult(TypedDict):
    """The response to ``observe``.

    If the response was lost and the outcome was read back, ``unique_id`` and
    ``auto_learned_pattern`` are None.
    """

    status: str
    session_id: str
    processor_id: str
    stm_length: int
    """Events in the short-term memory, 0 to 1,000. Observations without symbols do not count."""
    time: int
    """Observations since the session was created or its memory was cleared."""
    unique_id: str | None
    auto_learned_pattern: str | None
    """Name of the pattern that KATO learned on its own (``max_pattern_length``), if any."""


class SequenceResult(TypedDict):
    """The response to ``observe_sequence``.

    If a response was lost and the outcome was read back, no patterns are named that KATO learned by
    itself, and ``unique_id`` is None for an observation without one. If the length of the memory
    before the call is not known either, ``initial_stm_length`` is 0, and the entries of ``results``
    have only ``status``, ``sequence_position`` and ``time``.
    """

    status: str
    processor_id: str
    observations_processed: int
    initial_stm_length: int
    final_stm_length: int
    results: list[dict[str, Any]]
    """One entry for each observation, in order, with its ``sequence_position`` from 0."""
    auto_learned_patterns: list[str]
    final_learned_pattern: str | None
    isolated: bool
    """True if the memory was cleared between the observations (``clear_stm_between``)."""


class LearnResult(TypedDict):
    """The response to ``learn``."""

    status: str
    pattern_name: str | None
    """``PTRN|<hash>``. "" if KATO learned nothing: a memory of a single symbol is emptied, and
    makes no pattern, although ``status`` is "learned" (measured on KATO 3.10.1)."""
    session_id: str
    processor_id: str | None
    message: str | None


class Acknowledgement(TypedDict, total=False):
    """The response to ``clear_stm``, ``clear_all``, ``extend`` and to setting the configuration.

    ``scope`` is only that of ``clear_all``, ``ttl_seconds`` that of ``extend``, ``message`` that of
    the configuration.
    """

    status: str
    session_id: str
    scope: str
    ttl_seconds: int
    message: str


class Prediction(TypedDict):
    """One pattern that matches the short-term memory.

    KATO returns more measures than are named here; they are in the dict too.
    """

    name: str
    """The pattern's name, without the prefix ``PTRN|``."""
    type: str
    frequency: int
    """How often the pattern was learned, at least 1."""
    potential: float
    """Ranking score, unbounded; higher is better. Predictions are sorted by it by default."""
    confidence: float
    """0.0 to 1.0: matching symbols over all symbols of ``present``."""
    evidence: float
    """0.0 to 1.0: matching symbols over all symbols of the pattern."""
    similarity: float
    """0.0 to 1.0."""
    past: list[Event]
    """The pattern's events before the first match."""
    present: list[Event]
    """The pattern's events from the first match to the last."""
    future: list[Event]
    """The pattern's events after the last match."""
    matches: list[str]
    missing: list[Event]
    """For each event of ``present``, its symbols that were not observed."""
    extras: list[Event]
    """For each event of the short-term memory, its symbols that the pattern does not have."""
    emotives: dict[str, float]
    """The mean of each emotive that the pattern was learned with."""


class SessionInfo(TypedDict):
    """A session as KATO describes it. Times are ISO 8601 with a time zone."""

    session_id: str
    node_id: str
    created_at: str
    expires_at: str
    ttl_seconds: int
    """Seconds until ``expires_at``."""
    metadata: dict[str, Any]
    session_config: dict[str, Any]


class PerceptData(TypedDict):
    """The last observation, as KATO processed it.

    ``emotives`` are the mean of each emotive over the session's observations.
    """

    strings: list[str]
    vectors: list[list[float]]
    emotives: dict[str, float]
    path: list[str]
    metadata: dict[str, Any]


class CognitionData(TypedDict):
    """The current state of a session.

    ``time`` is the counter of observations, ``emotives`` are those of the last observation that had
    any. ``predictions`` are those of the last observation if ``process_predictions`` is on in the
    session's configuration, otherwise those of the short-term memory.
    """

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
    """The response to ``finalize_training``."""

    status: str
    patterns_processed: int
    time_ms: float
    """Milliseconds that the computation took."""
    session_id: str | None
    node_id: str | None
    message: str | None
