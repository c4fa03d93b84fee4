"""What a session's short-term memory must hold, by what KATO acknowledged.

The journal is the list of observations since the last learn or clear. From it follows what the
counter (``time``) and the short-term memory (STM) must be, and with it a session that was lost or
overwritten can be put back.

KATO's rules, measured on 3.10.1:

* every observation moves ``time`` by one; learning leaves it; ``clear-stm`` sets it to 0;
* only observations with symbols make an event of the STM; the strings of an event come back sorted
  (unless configured otherwise, so events are compared without regard to order);
* vectors become symbols of KATO's choosing, so their events are known by place only;
* with ``max_pattern_length`` n above 0, the observation that makes n events learns them; then the
  STM is empty (mode CLEAR) or keeps the last n-1 events (mode ROLLING);
* the STM keeps the newest 1,000 events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kato_consul._kato.types import Event, Observation

STM_BOUND = 1_000
"""Events KATO keeps (``max_stm_size``)."""

BOUND = 2 * STM_BOUND
"""Observations the journal keeps: all that the STM can hold, and as many without symbols."""

VECTOR_EVENT: Event = ["*"]
"""Stands for an event that vectors made: KATO chose its symbols."""


class Journal:
    """The acknowledged observations of one session since its last learn or clear."""

    __slots__ = ("entries", "events", "max_pattern_length", "rolling", "time")

    def __init__(self) -> None:
        self.time = 0
        self.events = 0
        self.entries: list[Observation] = []
        self.max_pattern_length = 0
        self.rolling = False

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take over what a configuration, or a change of it, says about learning by itself."""
        if "max_pattern_length" in config:
            self.max_pattern_length = int(config["max_pattern_length"] or 0)
        if "stm_mode" in config:
            self.rolling = config["stm_mode"] == "ROLLING"

    def copy(self) -> "Journal":
        """An independent copy, to see where an observation would lead."""
        other = Journal()
        other.time, other.events, other.entries = self.time, self.events, list(self.entries)
        other.max_pattern_length = self.max_pattern_length
        other.rolling = self.rolling
        return other

    @property
    def stm(self) -> list[Event]:
        """The events that the journal's observations make, oldest first."""
        made = map(event_of, self.entries)
        return [event for event in made if event][-STM_BOUND:]

    @property
    def whole(self) -> bool:
        """Does the journal hold all of the STM, so that it can be put back?"""
        return len(self.stm) == min(self.events, STM_BOUND)

    def observed(self, observation: Observation) -> None:
        """One observation was acknowledged."""
        self.time += 1
        self.entries.append(observation)
        if len(self.entries) > BOUND:
            del self.entries[0]
        if makes_event(observation):
            self.events += 1
            if 0 < self.max_pattern_length <= self.events:
                self._learned_by_itself()

    def learned(self) -> None:
        """The STM was learned and is empty now; the counter stays."""
        self.entries = []
        self.events = 0

    def cleared(self) -> None:
        """The STM was cleared; the counter starts again."""
        self.learned()
        self.time = 0

    def matches(self, time: int, stm: Sequence[Event]) -> bool:
        """Is this what KATO must have, if it has all that was acknowledged and nothing else?

        Of a journal that is not `whole`, only the events it holds are compared.
        """
        return (
            time == self.time
            and len(stm) == min(self.events, STM_BOUND)
            and all(map(is_event, reversed(self.stm), reversed(stm)))
        )

    def at(self, time: int) -> "Journal":
        """The journal as it was when the counter was ``time``: without what came later."""
        earlier = self.copy()
        later = earlier.entries[max(0, len(earlier.entries) - (self.time - time)) :]
        del earlier.entries[len(earlier.entries) - len(later) :]
        earlier.events -= sum(map(makes_event, later))
        earlier.time = time
        return earlier

    def _learned_by_itself(self) -> None:
        keep = self.max_pattern_length - 1 if self.rolling else 0
        while self.entries and (self.events > keep or not keep):
            self.events -= makes_event(self.entries.pop(0))
        self.events = keep


def is_event(ours: Event, theirs: Event) -> bool:
    """Is KATO's event the one we expect?"""
    return ours is VECTOR_EVENT or ours == sorted(theirs)


def makes_event(observation: Observation) -> bool:
    """Has the observation symbols? Without, it only moves the counter."""
    return bool(observation.get("strings") or observation.get("vectors"))


def event_of(observation: Observation) -> Event:
    """The STM event that an observation makes; empty when it makes none."""
    if observation.get("vectors"):
        return VECTOR_EVENT
    return sorted(observation.get("strings") or ())
