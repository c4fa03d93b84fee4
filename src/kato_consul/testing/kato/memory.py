"""The short-term memory of one session: what an observation, a lesson and a clearing do to it.

    observation with symbols     time + 1, one more event
    observation without          time + 1
    learn                        no event left, time as it was
    clear-stm                    no event left, time 0

Nothing here reads a clock, a store or the network.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = list[str]

MOST_EVENTS = 1_000  # the real one forgets what is older, and keeps as many emotives and metadata


@dataclass(slots=True)
class Session:
    """All that is stored of a session. Times are seconds since 1970."""

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
class Observation:
    """What a caller says happened at one moment."""

    strings: Sequence[str] = ()
    vectors: Sequence[Sequence[float]] = ()
    emotives: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbolic(self) -> bool:
        """Whether anything in it becomes a symbol."""
        return bool(self.strings or self.vectors)


def observe(session: Session, seen: Observation) -> None:
    """Put one observation into `session`."""
    session.time += 1
    strings = sorted(seen.strings)
    if event := sorted(map(vector_name, seen.vectors)) + strings:
        session.stm.append(event)
    if seen.emotives:
        session.emotives.append(dict(seen.emotives))
    if seen.metadata:
        session.notes.append(dict(seen.metadata))
    session.percept = {
        "strings": strings,
        "vectors": [list(vector) for vector in seen.vectors],
        "emotives": average(session.emotives),
        "path": [],
        "metadata": dict(seen.metadata),
    }


def auto_learn(session: Session, *, longest: int, rolling: bool) -> list[Event] | None:
    """Take from `session` what it learns by itself now, if anything.

    `longest` is max_pattern_length; 0 switches it off. `rolling` keeps the last `longest` - 1
    events, otherwise none stays.
    """
    if not 0 < longest <= len(session.stm):
        return None
    lesson = session.stm
    session.stm = lesson[-(longest - 1) :] if rolling and longest > 1 else []
    return lesson


def learn(session: Session) -> list[Event]:
    """Take all events from `session`."""
    lesson, session.stm = session.stm, []
    return lesson


def clear(session: Session) -> None:
    """Empty the memory and set its counter to 0."""
    session.time = 0
    session.stm = []
    session.emotives = []
    session.notes = []
    session.percept = {}
    session.predictions = []


def trim(session: Session) -> None:
    """Forget what is beyond the limits; done whenever a session is saved."""
    session.stm = session.stm[-MOST_EVENTS:]
    session.emotives = session.emotives[-MOST_EVENTS:]
    session.notes = session.notes[-MOST_EVENTS:]


def symbols(events: Sequence[Sequence[str]]) -> list[str]:
    """Return all symbols of `events`, in their order."""
    return [symbol for event in events for symbol in event]


def pattern_name(events: Sequence[Event]) -> str:
    """Return the name of a learned sequence, the same everywhere for the same events."""
    plain = [list(event) for event in events]
    return hashlib.sha1(repr(plain).encode(), usedforsecurity=False).hexdigest()


def vector_name(vector: Sequence[float]) -> str:
    """Return the symbol that stands for a vector. Only equal vectors are alike here."""
    digest = hashlib.sha1(repr(list(vector)).encode(), usedforsecurity=False).hexdigest()
    return f"VCTR|{digest}"


def average(emotives: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each emotive over the moments that have it."""
    values: dict[str, list[float]] = {}
    for moment in emotives:
        for name, value in moment.items():
            values.setdefault(name, []).append(value)
    return {name: sum(seen) / len(seen) for name, seen in values.items()}
