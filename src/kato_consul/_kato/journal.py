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
from typing import Any, NamedTuple

from kato_consul._kato.types import Event, Observation

MAX_STM_EVENTS = 1_000
"""Events that KATO keeps (``max_stm_size``)."""

MAX_ENTRIES = 2 * MAX_STM_EVENTS
"""Observations that the journal keeps: a full STM, and as many observations without symbols."""

VECTOR_EVENT: Event = ["*"]
"""Placeholder for an event made of vectors: KATO chose its symbols."""


EMPTY: Mapping[str, Any] = MappingProxyType({})
"""Shared by all sessions: an empty dict for each of 100,000 sessions takes 6 MB."""


class AutoLearn(NamedTuple):
    """When KATO learns by itself: with ``length`` events, 0 for never; ``rolling`` is the mode."""

    length: int = 0
    rolling: bool = False


NEVER = AutoLearn()


class Journal:
    """What one KATO session must have: a value, each change of which makes a new one.

    So a session's state changes by one assignment, and is never half changed, also if Ctrl-C
    interrupts it. Journals that follow each other share the list of observations.

    ``session_id`` is KATO's id of the session, None before it is opened. ``config`` are the
    settings that were asked of KATO; the others have KATO's defaults. ``learns`` counts the
    patterns that KATO has learned from the memory. ``generation`` counts how often the memory was
    emptied: only within one generation does the memory just grow. ``last_write`` is the write that
    led to this journal, if it is known.
    """

    __slots__ = (
        "_count",
        "_log",
        "auto_learn",
        "config",
        "events",
        "generation",
        "last_write",
        "learns",
        "session_id",
        "time",
    )

    def __init__(self, config: Mapping[str, Any] = EMPTY, session_id: str | None = None) -> None:
        self.session_id = session_id
        self.time = 0
        self.events = 0
        self._log: list[Observation] = []  # appended to, and never changed otherwise
        self._count = 0  # how many of them are this journal's
        self.learns = 0
        self.generation = 0
        self.config = config
        self.auto_learn = NEVER
        self.last_write: object = None

    @classmethod
    def restored(
        cls,
        config: Mapping[str, Any],
        session_id: str | None,
        *,
        time: int,
        events: int,
        entries: Sequence[Observation],
        auto_learn: AutoLearn,
    ) -> "Journal":
        """Return the journal of a session that another process has left."""
        journal = cls(config, session_id)
        journal.time = time
        journal.events = events
        journal._log = list(entries)
        journal._count = len(journal._log)
        journal.auto_learn = auto_learn
        return journal

    @property
    def entries(self) -> list[Observation]:
        """The observations since the memory was emptied, oldest first."""
        return self._log[: self._count]

    def __len__(self) -> int:
        """Return the number of `entries`."""
        return self._count

    @property
    def stm(self) -> list[Event]:
        """The events that the journal's observations make, oldest first."""
        events = map(event_of, self.entries)
        return [event for event in events if event][-MAX_STM_EVENTS:]

    @property
    def complete(self) -> bool:
        """True if the journal holds every event of the STM, so that it can restore the session."""
        held = sum(map(makes_event, self.entries))
        return min(held, MAX_STM_EVENTS) == min(self.events, MAX_STM_EVENTS)

    def matches(self, time: int, stm: Sequence[Event]) -> bool:
        """Return whether KATO's counter and events are those of this journal.

        If the journal is not `complete`, only the events that it holds are compared.
        """
        return (
            time == self.time
            and len(stm) == min(self.events, MAX_STM_EVENTS)
            and all(map(is_same_event, reversed(self.stm), reversed(stm)))
        )

    def observed(self, observation: Observation) -> "Journal":
        """Return the journal after an observation."""
        after = self._copy()
        log, count = self._log, self._count
        if len(log) != count:  # another journal has gone on from here
            log = log[:count]
        log.append(observation)
        if count < MAX_ENTRIES:
            count += 1
        else:
            log = log[1:]
        after._log, after._count = log, count
        after.time += 1
        if makes_event(observation):
            after.events += 1
            if 0 < self.auto_learn.length <= after.events:
                after._learn_by_itself()
        return after

    def learned(self) -> "Journal":
        """Return the journal after a learn: the STM is empty, the counter is unchanged."""
        after = self.emptied()
        after.learns += 1
        return after

    def cleared(self) -> "Journal":
        """Return the journal after a clear: the STM is empty, the counter is 0."""
        after = self.emptied()
        after.time = 0
        return after

    def emptied(self) -> "Journal":
        """Return the journal after the STM was emptied between two observations of a sequence."""
        after = self._copy()
        after.generation += 1
        after._log, after._count, after.events = [], 0, 0
        return after

    def adopted(self, time: int, stm: Sequence[Event]) -> "Journal":
        """Return the journal that continues from KATO's counter and events."""
        after = self.emptied()
        after.time = time
        after.events = after._count = len(stm)
        after._log = [{"strings": list(event)} for event in stm]
        return after

    def configured(self, config: Mapping[str, Any], effective: Mapping[str, Any]) -> "Journal":
        """Return the journal with another ``config``, of which KATO uses ``effective``."""
        after = self._copy()
        after.config = config
        length, rolling = self.auto_learn
        if "max_pattern_length" in effective:
            value = effective["max_pattern_length"]
            reachable = isinstance(value, int) and value <= MAX_STM_EVENTS
            length = value if reachable else 0
        if "stm_mode" in effective:
            rolling = effective["stm_mode"] == "ROLLING"
        after.auto_learn = AutoLearn(length, rolling)
        return after

    def replayed_in(self, session_id: str | None) -> "Journal":
        """Return the journal of a new session in which the entries are observed again."""
        after = self._copy()
        after.session_id = session_id
        after.time = self._count
        return after

    def by(self, write: object) -> "Journal":
        """Return the same journal, marked as the result of a write."""
        after = self._copy()
        after.last_write = write
        return after

    def _copy(self) -> "Journal":
        other = Journal.__new__(Journal)
        other.session_id = self.session_id
        other.time = self.time
        other.events = self.events
        other._log = self._log
        other._count = self._count
        other.learns = self.learns
        other.generation = self.generation
        other.config = self.config
        other.auto_learn = self.auto_learn
        other.last_write = None
        return other

    def _learn_by_itself(self) -> None:
        self.learns += 1
        self.generation += 1
        length, rolling = self.auto_learn
        keep = length - 1 if rolling else 0
        entries = self.entries
        while entries and (self.events > keep or not keep):
            self.events -= makes_event(entries.pop(0))
        self._log, self._count, self.events = entries, len(entries), keep


def memory_length(events: int) -> int:
    """Return the length of KATO's memory after so many events, of which it keeps the newest."""
    return min(events, MAX_STM_EVENTS)


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
