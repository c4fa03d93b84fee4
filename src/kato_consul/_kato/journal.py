"""Journal: what a KATO session must have: the acknowledged observations since its last learn or
clear, and its configuration.

The journal determines the counter (``time``) and the short-term memory (STM) that KATO must have.
A session that was lost or has to be left can be restored from it.

KATO's rules, measured on 3.10.1:

* every observation adds 1 to ``time``; learning does not change it; ``clear-stm`` sets it to 0;
* only observations with symbols make an event of the STM; KATO returns the strings of an event
  sorted (unless configured otherwise, so events are compared without regard to order);
* KATO chooses the symbols of vectors, so their events are known by position only;
* with ``max_pattern_length`` n above 0, the observation that makes n events learns them; then the
  STM is empty (mode CLEAR) or keeps the last n-1 events (mode ROLLING);
* the STM keeps the newest 1,000 events.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kato_consul._kato.types import Event, Observation

MAX_STM_EVENTS = 1_000
"""Events that KATO keeps (``max_stm_size``)."""

MAX_ENTRIES = 2 * MAX_STM_EVENTS
"""Observations that the journal keeps: a full STM, and as many observations without symbols."""

VECTOR_EVENT: Event = ["*"]
"""Placeholder for an event made of vectors: KATO chose its symbols."""


EMPTY: Mapping[str, Any] = MappingProxyType({})
"""Shared by all sessions: an empty dict for each of 100,000 sessions takes 6 MB."""


class Journal:
    """What one session must have.

    ``config`` are the settings that were asked of KATO; the others have KATO's defaults.
    ``learns`` counts the patterns that KATO has learned from the memory. ``generation`` counts how
    often the memory was emptied: only within one generation does the memory just grow.
    """

    __slots__ = (
        "config",
        "entries",
        "events",
        "generation",
        "learns",
        "max_pattern_length",
        "rolling",
        "time",
    )

    def __init__(self, config: Mapping[str, Any] = EMPTY) -> None:
        self.time = 0
        self.events = 0
        self.entries: list[Observation] = []
        self.learns = 0
        self.generation = 0
        self.config = config
        self.max_pattern_length = 0
        self.rolling = False

    def configure(self, values: Mapping[str, Any]) -> None:
        """Record settings that KATO has taken."""
        self.config = {**self.config, **values}
        self.apply_auto_learn(values)

    def apply_auto_learn(self, effective: Mapping[str, Any]) -> None:
        """Follow the settings of learning by itself in a configuration that KATO returned."""
        if "max_pattern_length" in effective:
            length = effective["max_pattern_length"]
            self.max_pattern_length = length if isinstance(length, int) else 0
        if "stm_mode" in effective:
            self.rolling = effective["stm_mode"] == "ROLLING"

    def copy(self) -> "Journal":
        """Return an independent copy, to compute the effect of a write."""
        other = Journal()
        other.time, other.events, other.entries = self.time, self.events, list(self.entries)
        other.learns, other.generation = self.learns, self.generation
        other.config = self.config
        other.max_pattern_length = self.max_pattern_length
        other.rolling = self.rolling
        return other

    def replayed(self) -> "Journal":
        """Return the journal of a new session in which the entries are observed again."""
        other = self.copy()
        other.time = len(other.entries)
        return other

    @property
    def stm(self) -> list[Event]:
        """The events that the journal's observations make, oldest first."""
        events = map(event_of, self.entries)
        return [event for event in events if event][-MAX_STM_EVENTS:]

    @property
    def complete(self) -> bool:
        """True if the journal holds every event of the STM, so that it can restore the session."""
        return len(self.stm) == min(self.events, MAX_STM_EVENTS)

    def record_observation(self, observation: Observation) -> None:
        """Record an acknowledged observation."""
        self.time += 1
        self.entries.append(observation)
        if len(self.entries) > MAX_ENTRIES:
            del self.entries[0]
        if makes_event(observation):
            self.events += 1
            if 0 < self.max_pattern_length <= self.events:
                self._auto_learn()

    def record_learn(self) -> None:
        """Record a learn: the STM is empty, the counter is unchanged."""
        self.learns += 1
        self.record_emptied()

    def record_clear(self) -> None:
        """Record a clear: the STM is empty, the counter is 0."""
        self.record_emptied()
        self.time = 0

    def record_emptied(self) -> None:
        """Record that the STM was emptied between two observations of a sequence."""
        self.generation += 1
        self.entries = []
        self.events = 0

    def matches(self, time: int, stm: Sequence[Event]) -> bool:
        """Return whether KATO's counter and events are those of this journal.

        If the journal is not `complete`, only the events that it holds are compared.
        """
        return (
            time == self.time
            and len(stm) == min(self.events, MAX_STM_EVENTS)
            and all(map(is_same_event, reversed(self.stm), reversed(stm)))
        )

    def _auto_learn(self) -> None:
        self.learns += 1
        self.generation += 1
        keep = self.max_pattern_length - 1 if self.rolling else 0
        while self.entries and (self.events > keep or not keep):
            self.events -= makes_event(self.entries.pop(0))
        self.events = keep


def is_same_event(expected: Event, found: Event) -> bool:
    """Return whether an event of KATO's is the expected one of the journal."""
    return expected is VECTOR_EVENT or expected == sorted(found)


def makes_event(observation: Observation) -> bool:
    """Return whether the observation has symbols. Without any it only increments the counter."""
    return bool(observation.get("strings") or observation.get("vectors"))


def event_of(observation: Observation) -> Event:
    """Return the STM event that an observation makes, or an empty list if it makes none."""
    if observation.get("vectors"):
        return VECTOR_EVENT
    return sorted(observation.get("strings") or ())
