"""The calls that change a session, each with all that is needed to settle it.

A `Write` knows how to ask for it, what it does to the journal once applied, what KATO's counter is
then, and what to answer when KATO's own answer was lost and the effect was read back instead.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from kato_consul._kato.journal import STM_BOUND, Journal, makes_event
from kato_consul._kato.types import (
    LearnResult,
    Observation,
    ObservationResult,
    SequenceResult,
)
from kato_consul._requests.failover import Request

R = TypeVar("R")
encode = msgspec.json.encode


def _nothing_told(found: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Write(Generic[R]):
    """One change of a session.

    ``observations`` are what it adds. ``told`` reads counter and number of events from KATO's
    answer, None when it has neither; ``if_read_back`` makes the answer from the journal after the
    change.
    ``twice_is_harmful``: applied twice, it cannot be seen in the session and undone, so it is never
    sent again while it may still land. ``resets``: whatever the session was before does not matter.
    ``commits``: it makes what is in the short-term memory last, and its answer tells no counter, so
    the memory is looked at before.
    """

    what: str
    path: str
    body: bytes
    apply: Callable[[Journal], None]
    answer_from_journal: Callable[[str, Journal], R]
    observations: Sequence[Observation] = ()
    reported: Callable[[Any], tuple[int, int] | None] = _nothing_told
    not_repeatable: bool = False
    resets: bool = False
    commits: bool = False

    def request(self, session_id: str, timeout: float, *, follow_up: bool = False) -> Request:
        """The request for a session; ``follow_up`` when it was sent before, or mends something."""
        target = f"/sessions/{session_id}/{self.path}"
        return Request(self.what, "POST", target, self.body, timeout=timeout, follow_up=follow_up)

    def is_expected(self, before: Journal, found: Any) -> bool:
        """Does KATO's answer tell what it must, coming from ``before``?"""
        try:
            told = self.reported(found)
        except (KeyError, TypeError, IndexError):
            return False  # not KATO's words: the session is looked at
        if told is None:
            return True
        if len(self.observations) == 1 and not before.max_pattern_length and not self.commits:
            # The common case, without a copy: one more observation, and perhaps one more event.
            events = before.events + makes_event(self.observations[0])
            return told == (before.time + 1, min(events, STM_BOUND))
        after = before.copy()
        self.apply(after)
        return told == (after.time, min(after.events, STM_BOUND))


def observation(
    strings: Iterable[str] | None,
    vectors: Iterable[Iterable[float]] | None,
    emotives: dict[str, float] | None,
    metadata: dict[str, Any] | None,
) -> Observation:
    """One observation, as KATO takes it."""
    made: Observation = {}
    if strings is not None:
        # A lone string is a mistake that would become an observation of its letters.
        made["strings"] = strings if isinstance(strings, str) else list(strings)  # type: ignore[typeddict-item]
    if vectors is not None:
        made["vectors"] = [list(vector) for vector in vectors]
    if emotives is not None:
        made["emotives"] = dict(emotives)
    if metadata is not None:
        made["metadata"] = dict(metadata)
    return made


def observations(given: Iterable[Observation | Sequence[str]]) -> list[Observation]:
    """Several observations; a plain list of strings is one of strings alone."""
    return [one if isinstance(one, dict) else observation(one, None, None, None) for one in given]


def observe(observation: Observation) -> Write[ObservationResult]:
    """One observation."""

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
        body=encode(observation),
        apply=lambda journal: journal.observed(observation),
        answer_from_journal=answer,
        observations=[observation],
        reported=lambda found: (found["time"], found["stm_length"]),
    )


def _told_of_sequence(found: Any) -> tuple[int, int] | None:
    results = found["results"]
    return (results[-1]["time"], found["final_stm_length"]) if results else None


def observe_sequence(
    observations: Sequence[Observation],
    *,
    learn_after_each: bool = False,
    learn_at_end: bool = False,
    clear_stm_between: bool = False,
) -> Write[SequenceResult]:
    """Several observations in one call: KATO saves once, at the end, so it is all or nothing."""
    body = encode(
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
                journal.learned()  # the events go, the counter stays: as after learning
            journal.observed(observation)
            if learn_after_each and journal.events:
                journal.learned()
        if learn_at_end and observations and journal.events:
            journal.learned()

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
        reported=_told_of_sequence,
        commits=learn_after_each or learn_at_end,
    )


def learn() -> Write[LearnResult]:
    """Learn the short-term memory as a pattern. Learned twice, its frequency is 2: harmful."""

    def answer(session_id: str, after: Journal) -> LearnResult:
        return {
            "status": "learned",
            "pattern_name": None,
            "session_id": session_id,
            "processor_id": None,
            "message": "the answer was lost; the short-term memory is empty, so it was learned",
        }

    return Write(
        what="learn",
        path="learn",
        body=b"",
        apply=Journal.learned,
        answer_from_journal=answer,
        not_repeatable=True,
        commits=True,
    )


def set_config(values: Mapping[str, Any]) -> Write[None]:
    """Change the session's configuration. KATO checks it here, and saves the whole session."""
    return Write(
        what="set_config",
        path="config",
        body=encode({"config": dict(values)}),
        apply=lambda journal: journal.configure(values),
        answer_from_journal=lambda session_id, after: None,
    )


def extend(ttl_seconds: int) -> Write[None]:
    """Let the session live ``ttl_seconds`` from now. KATO saves the whole session."""
    return Write(
        what="extend",
        path=f"extend?ttl_seconds={ttl_seconds:d}",
        body=b"",
        apply=lambda journal: None,
        answer_from_journal=lambda session_id, after: None,
    )


def clear_all() -> Write[None]:
    """Empty the short-term memory, and forget all that the session's node has learned."""
    return Write(
        what="clear_all",
        path="clear-all",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=lambda session_id, after: None,
        resets=True,
    )


def clear_stm() -> Write[None]:
    """Empty the short-term memory and set the counter to 0."""
    return Write(
        what="clear_stm",
        path="clear-stm",
        body=b"",
        apply=Journal.cleared,
        answer_from_journal=lambda session_id, after: None,
        resets=True,
    )
