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
    unique_ids: str = "",
    first: int = 0,
    made_by: int = 0,
) -> Write[SequenceResult]:
    """Return the write that adds several observations in one call.

    KATO saves the session once, at the end: it applies all of them or none. ``learn_after_each``
    learns the memory after each observation. ``clear_stm_between`` empties the memory before each
    observation but the first.

    KATO gives each observation a ``unique_id`` that has none, and forgets it. ``unique_ids``, if
    set, begins those that the write gives them, with their number, ``first`` and the next ones: so
    the answer can be made again. ``made_by``: the answer is that to several writes, each of so many
    observations.
    """

    named = observations
    if unique_ids:
        named = [
            {**one, "unique_id": one.get("unique_id") or f"{unique_ids}-{first + position}"}
            for position, one in enumerate(observations)
        ]
    body = to_json(
        {
            "observations": named,
            "learn_after_each": learn_after_each,
            "learn_at_end": False,  # `observe_chunks` learns by itself: see there
            "clear_stm_between": clear_stm_between,
        }
    )

    def steps(journal: Journal) -> Iterator[_Step]:
        for position, observation in enumerate(observations):
            if clear_stm_between and position:
                # Between two writes by a call of its own, which sets the counter back.
                own_call = made_by and position % made_by == 0
                journal = journal.cleared() if own_call else journal.emptied()
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
        if made and not _leads_to(made[-1].after, after):
            before, made = None, []
        return {
            "status": "completed",
            "processor_id": read_back.node_id,
            "observations_processed": len(observations),
            "initial_stm_length": 0 if before is None else memory_length(before.events),
            "final_stm_length": memory_length(after.events),
            "results": _entries(named, made, read_back),
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


def _leads_to(end: Journal, after: Journal) -> bool:
    """Return whether a sequence that leads to ``end`` is what led to ``after``, or to what was
    learned then. If not, KATO's session was replaced meanwhile."""
    return end.time == after.time and after.events in (0, end.events)


def _entries(
    observations: Sequence[Observation], steps: Sequence[_Step], read_back: ReadBack
) -> list[dict[str, Any]]:
    """Return the entries of ``results``. If other patterns were learned than the steps have, they
    name none. If the ``steps`` are not known, they have only the counter, which is counted back,
    unless it was set back meanwhile."""
    if not steps:
        first = read_back.after.time - len(observations) + 1
        return [
            {"status": "okay", "sequence_position": position}
            | ({"time": first + position} if first > 0 else {})
            for position in range(len(observations))
        ]
    complete = len(read_back.learned) == sum(step.learns + step.by_itself for step in steps)
    names = iter(read_back.learned if complete else ())
    results = []
    for position, (observation, step) in enumerate(zip(observations, steps, strict=True)):
        if step.learns:  # KATO names it first
            next(names, None)
        results.append(
            {
                "status": "okay",
                "sequence_position": position,
                "stm_length": memory_length(step.after.events),
                "time": step.after.time,
                "unique_id": observation.get("unique_id"),
                "auto_learned_pattern": next(names, None) if step.by_itself else None,
            }
        )
    return results
