"""Long sequences: in chunks, each all or nothing, with progress and a place to go on from."""

from collections.abc import Callable, Sequence

from kato_consul._flow import Flow
from kato_consul._kato.execute import execute
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Observation, SequenceResult
from kato_consul._kato.writes import clear_stm, observe_sequence
from kato_consul.errors import KatoConsulError

CHUNK = 100
"""Observations in one call. KATO works them off one by one, some 10 ms each: about a second, well
within the timeout of an attempt, and little to do again when one is lost."""

Progress = Callable[[int, int], None]
"""Told after each chunk: observations applied so far, and in all."""


def observe_chunks(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    observations: Sequence[Observation],
    chunk: int = CHUNK,
    learn_after_each: bool = False,
    learn_at_end: bool = False,
    clear_stm_between: bool = False,
    progress: Progress | None = None,
) -> Flow[SequenceResult]:
    """Flow: observe a sequence of any length, in chunks of at most ``chunk``.

    Each chunk is given as long as the whole call would be. An error tells in ``applied`` how many
    observations are in for certain: go on with the others.
    """
    patience = deadline - api.now()
    merged: SequenceResult | None = None
    starts = range(0, max(len(observations), 1), chunk)
    for start in starts:
        part = observations[start : start + chunk]
        last = start == starts[-1]
        try:
            if clear_stm_between and start:
                yield from execute(api, state, api.now() + patience, clear_stm())
            write = observe_sequence(
                part,
                learn_after_each=learn_after_each,
                learn_at_end=learn_at_end and last,
                clear_stm_between=clear_stm_between,
            )
            result = yield from execute(api, state, api.now() + patience, write)
        except KatoConsulError as error:
            error.applied = start
            raise
        merged = result if merged is None else _merged(merged, result)
        if progress is not None:
            progress(start + len(part), len(observations))
    assert merged is not None
    return merged


def _merged(before: SequenceResult, after: SequenceResult) -> SequenceResult:
    """Two answers as if they were one."""
    offset = before["observations_processed"]
    moved = [
        {**one, "sequence_position": one["sequence_position"] + offset} for one in after["results"]
    ]
    return {
        **after,
        "observations_processed": offset + after["observations_processed"],
        "initial_stm_length": before["initial_stm_length"],
        "results": before["results"] + moved,
        "auto_learned_patterns": before["auto_learned_patterns"] + after["auto_learned_patterns"],
    }
