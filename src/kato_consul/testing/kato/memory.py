"""Short-term memory (STM) of one session: the effects of observing, learning and clearing.

    observation with symbols     time + 1, one more event
    observation without          time + 1
    learn                        no events left, time unchanged
    clear-stm                    no events left, time 0

Nothing here reads a clock, a store or the network.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = list[str]

STM_BOUND = 1_000  # KATO drops older events, and keeps as many emotives and metadata


@dataclass(slots=True)
class StoredSession:
    """The stored document of a session. Times are seconds since 1970."""

    session_id: str
    node_id: str
    created_at: float
    expires_at: float
    ttl_seconds: int
    metadata: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)  # only what differs from the defaults
    time: int = 0
    stm: list[Event] = field(default_factory=list)
    emotives: list[dict[str, float]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)  # metadata of observations
    percept: dict[str, Any] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ObservationInput:
    """One observation, as the caller sent it."""

    strings: Sequence[str] = ()
    vectors: Sequence[Sequence[float]] = ()
    emotives: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbolic(self) -> bool:
        """True if it contains symbols: strings or vectors."""
        return bool(self.strings or self.vectors)


def observe(session: StoredSession, observation: ObservationInput) -> None:
    """Add one observation to `session`."""
    session.time += 1
    strings = sorted(observation.strings)
    if event := sorted(map(vector_name, observation.vectors)) + strings:
        session.stm.append(event)
    if observation.emotives:
        session.emotives.append(dict(observation.emotives))
    if observation.metadata:
        session.notes.append(dict(observation.metadata))
    session.percept = {
        "strings": strings,
        "vectors": [list(vector) for vector in observation.vectors],
        "emotives": average(session.emotives),
        "path": [],
        "metadata": dict(observation.metadata),
    }


def auto_learn(session: StoredSession, *, longest: int, rolling: bool) -> list[Event] | None:
    """Remove and return the events that are learned automatically now; None if there are none.

    `longest` is max_pattern_length; 0 disables automatic learning. `rolling` keeps the last
    `longest` - 1 events, otherwise none are kept.
    """
    if not 0 < longest <= len(session.stm):
        return None
    events = session.stm
    session.stm = events[-(longest - 1) :] if rolling and longest > 1 else []
    return events


def learn(session: StoredSession) -> list[Event]:
    """Remove and return all events of `session`."""
    events, session.stm = session.stm, []
    return events


def clear(session: StoredSession) -> None:
    """Clear the memory and set its counter to 0."""
    session.time = 0
    session.stm = []
    session.emotives = []
    session.notes = []
    session.percept = {}
    session.predictions = []


def trim(session: StoredSession) -> None:
    """Drop the oldest entries beyond the limits; done whenever a session is saved."""
    session.stm = session.stm[-STM_BOUND:]
    session.emotives = session.emotives[-STM_BOUND:]
    session.notes = session.notes[-STM_BOUND:]


def symbols(events: Sequence[Sequence[str]]) -> list[str]:
    """Return all symbols of `events` in order."""
    return [symbol for event in events for symbol in event]


def pattern_name(events: Sequence[Event]) -> str:
    """Return the name of a learned sequence; equal events have the same name on all instances."""
    plain = [list(event) for event in events]
    return hashlib.sha1(repr(plain).encode(), usedforsecurity=False).hexdigest()


def vector_name(vector: Sequence[float]) -> str:
    """Return the symbol for a vector. Here only equal vectors have the same symbol."""
    digest = hashlib.sha1(repr(list(vector)).encode(), usedforsecurity=False).hexdigest()
    return f"VCTR|{digest}"


def average(emotives: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each emotive over the observations that have it."""
    values: dict[str, list[float]] = {}
    for observed in emotives:
        for name, value in observed.items():
            values.setdefault(name, []).append(value)
    return {name: sum(all_of_name) / len(all_of_name) for name, all_of_name in values.items()}
