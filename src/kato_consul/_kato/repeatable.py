"""Repeatable forms of the calls that observe and learn: see `repeated_calls`."""

import hashlib
from collections.abc import Sequence
from typing import Any

from kato_consul._flow import Flow
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.learning import learn
from kato_consul._kato.observations import to_json
from kato_consul._kato.repeated_calls import Call, Track
from kato_consul._kato.sequence_chunks import Progress, merged, observe_chunks, with_learned
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import LearnResult, Observation, ObservationResult, SequenceResult
from kato_consul.errors import ConfigurationError

MAX_KEY_LENGTH = 255
"""Characters of an idempotency key."""


def observe_call(observation: Observation) -> Call[ObservationResult]:
    """Return the call that adds one observation."""
    write = writes.observe(observation)

    def run(
        api: KatoApi, state: SessionState, deadline: float, done: int, track: Track
    ) -> Flow[ObservationResult]:
        return track(execute_write(api, state, deadline, write), 1, 1)

    return Call(
        what="observe",
        request=_digest("observe", write.body),
        observations=1,
        learns=False,
        run=run,
        answer=write.answer_from_journal,
    )


def sequence_call(
    observations: Sequence[Observation],
    *,
    chunk: int,
    learn_after_each: bool,
    learn_at_end: bool,
    clear_stm_between: bool,
    progress: Progress | None,
) -> Call[SequenceResult]:
    """Return the call that adds a sequence of observations."""
    options = {"learn_after_each": learn_after_each, "clear_stm_between": clear_stm_between}
    whole = writes.observe_sequence(observations, **options)
    learns = learn_at_end and bool(observations)

    def run(
        api: KatoApi, state: SessionState, deadline: float, done: int, track: Track
    ) -> Flow[SequenceResult]:
        before: SequenceResult | None = None
        if done:
            part = writes.observe_sequence(observations[:done], **options)
            before = part.answer_from_journal(state.id or "", state.journal)
        if done < len(observations) or not observations:
            after = yield from observe_chunks(
                api,
                state,
                deadline,
                observations=observations[done:],
                chunk=chunk,
                learn_at_end=learn_at_end,
                progress=progress,
                track=track,
                **options,
            )
            return after if before is None else merged(before, after)
        assert before is not None
        return with_learned(before, (yield from track(learn(api, state, deadline), 1, 0)))

    return Call(
        what="observe_sequence",
        request=_digest("observe_sequence", whole.body, learn_at_end),
        observations=len(observations),
        learns=learns,
        run=run,
        answer=whole.answer_from_journal,
    )


def learn_call() -> Call[LearnResult]:
    """Return the call that learns the memory."""

    def run(
        api: KatoApi, state: SessionState, deadline: float, done: int, track: Track
    ) -> Flow[LearnResult]:
        return track(learn(api, state, deadline), 1, 0)

    def answer(session_id: str, journal: Journal) -> LearnResult:
        result = writes.learn().answer_from_journal(session_id, journal)
        return {**result, "message": "it was learned by an earlier call"}

    return Call(
        what="learn",
        request=_digest("learn"),
        observations=0,
        learns=True,
        run=run,
        answer=answer,
    )


def checked_idempotency_key(key: Any) -> str | None:
    """Return the key.

    Raises:
        ConfigurationError: it is no text, empty or too long.
    """
    if key is None or (isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH):
        return None if key is None else str(key)
    raise ConfigurationError(
        f"idempotency_key must be a text of 1 to {MAX_KEY_LENGTH} characters, different for each "
        f"call, such as a UUID"
    )


def _digest(*parts: object) -> str:
    """Return a digest of what a call asks for."""
    return hashlib.sha256(to_json([str(part) for part in parts])).hexdigest()[:32]
