"""Sequence write: several observations in one call, and what KATO answers to it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.journal import Journal, memory_length
from kato_consul._kato.observations import to_json
from kato_consul._kato.types import Observation, SequenceResult
from kato_consul._kato.write import ReadBack, Write


class _Step(NamedTuple):
    """One observation: the journal after it, whether KATO learned because the call asks for it, and
    whether it learned by itself."""

    after: Journal
    learns: bool
    by_itself: bool


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

    def steps(journal: Journal) -> Iterator[_Step]:
        for position, observation in enumerate(observations):
            if clear_stm_between and position:
                journal = journal.emptied()
            observed = journal.observed(observation)
            by_itself = observed.learns > journal.learns
            learns = learn_after_each and observed.events > 0
            journal = observed.learned() if learns else observed
            yield _Step(journal, learns, by_itself)

    def apply(journal: Journal) -> Journal:
        for step in steps(journal):
            journal = step.after
        return journal

    def answer(read_back: ReadBack) -> SequenceResult:
        after, before = read_back.after, read_back.before
        made = [] if before is None else list(steps(before))
        # Nothing is left if the memory was learned since. Otherwise the configuration was another.
        if made and after.events not in (0, made[-1].after.events):
            before, made = None, []
        return {
            "status": "completed",
            "processor_id": read_back.node_id,
            "observations_processed": len(observations),
            "initial_stm_length": 0 if before is None else memory_length(before.events),
            "final_stm_length": memory_length(after.events),
            "results": _entries(observations, after.time, made, read_back.learned),
            "auto_learned_patterns": [*read_back.learned],
            "final_learned_pattern": None,
            "isolated": clear_stm_between,
        }

    return Write(
        what=f"observe_sequence of {len(observations)}",
        path="observe-sequence",
        body=body,
        apply=apply,
        answer_read_back=answer,
        observations=observations,
        shape=shapes.ObservedSequence,
        read_counters=_counters,
        read_patterns=lambda response: response["auto_learned_patterns"],
        once_only=learn_after_each,
    )


def _counters(response: Any) -> tuple[int, int] | None:
    results = response["results"]
    return (results[-1]["time"], response["final_stm_length"]) if results else None


def _entries(
    observations: Sequence[Observation],
    time: int,
    steps: Sequence[_Step],
    learned: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the entries of ``results``. After the last one KATO's counter is ``time``. Without
    ``steps``, they have no lengths; with other names than the steps have learned, they have none.
    """
    first = time - len(observations) + 1
    entries: list[dict[str, Any]] = [
        {"status": "okay", "sequence_position": position, "time": first + position}
        for position in range(len(observations))
    ]
    complete = len(learned) == sum(step.learns + step.by_itself for step in steps)
    names = iter(learned if complete else ())
    for entry, observation, step in zip(entries, observations, steps, strict=False):
        if step.learns:  # KATO names it first
            next(names, None)
        entry["stm_length"] = memory_length(step.after.events)
        entry["unique_id"] = observation.get("unique_id")
        entry["auto_learned_pattern"] = next(names, None) if step.by_itself else None
    return entries
