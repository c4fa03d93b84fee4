"""Repeatable forms of the calls that observe and learn: see `repeated_calls`."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato import learning, writes
from kato_consul._kato.answered_call import answer_once
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.log_positions import checked_position
from kato_consul._kato.observations import to_json
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.repeated_calls import Before, Call, MakePart, call_once
from kato_consul._kato.sequence_chunks import Progress, no_part, observe_chunks, with_learned
from kato_consul._kato.sequence_write import observe_sequence as sequence_write
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import (
    Acknowledgement,
    LearnResult,
    Observation,
    ObservationResult,
    SequenceResult,
)
from kato_consul._kato.write import Write
from kato_consul.errors import ConfigurationError

R = TypeVar("R")

MAX_KEY_LENGTH = 255
"""Characters of an idempotency key."""


def observe(observation: Observation, key: Any, position: Any) -> CallFlow[ObservationResult]:
    """Return the flow of a call that adds one observation."""
    write = writes.observe(observation)
    if key is None and position is None:
        return partial(execute_write, write=write)

    def run(
        api: KatoApi, state: SessionState, deadline: float, before: Before, part: MakePart
    ) -> Flow[ObservationResult]:
        return execute_write(api, state, deadline, write.of(part(1, 1)))

    call = Call(
        what="observe",
        request=_digest("observe", write.body),
        observations=1,
        learns=False,
        run=run,
        answer=lambda state, before: write.answer_read_back(before.read_back(state)),
    )
    return _once(call, key, position)


def observe_sequence(
    observations: Sequence[Observation],
    key: Any,
    position: Any,
    *,
    chunk: int,
    learn_after_each: bool,
    learn_at_end: bool,
    clear_stm_between: bool,
    progress: Progress | None,
) -> CallFlow[SequenceResult]:
    """Return the flow of a call that adds a sequence of observations."""

    def chunks(
        api: KatoApi,
        state: SessionState,
        deadline: float,
        part: MakePart = no_part,
        unique_ids: str = "",
        so_far: SequenceResult | None = None,
    ) -> Flow[SequenceResult]:
        return observe_chunks(
            api,
            state,
            deadline,
            observations=observations,
            chunk=chunk,
            learn_after_each=learn_after_each,
            learn_at_end=learn_at_end,
            clear_stm_between=clear_stm_between,
            progress=progress,
            part=part,
            unique_ids=unique_ids,
            so_far=so_far,
        )

    if key is None and position is None:
        return chunks
    count = len(observations)

    def unique_ids(state: SessionState) -> str:
        return "" if key is None else f"seq-obs-{_digest('unique_id', state.key, key)}"

    def write_of(first: int, unique_ids: str = "") -> Write[SequenceResult]:
        return sequence_write(
            observations[:first],
            learn_after_each=learn_after_each,
            clear_stm_between=clear_stm_between,
            unique_ids=unique_ids,
            made_by=chunk,
        )

    def answer(state: SessionState, before: Before) -> SequenceResult:
        write = write_of(count, unique_ids(state))
        result = write.answer_read_back(before.read_back(state))
        start = before.start
        left = bool(before.pattern) if start is None else write.apply(start).events > 0
        return with_learned(result, _learned(before)) if learn_at_end and left else result

    def run(
        api: KatoApi, state: SessionState, deadline: float, before: Before, part: MakePart
    ) -> Flow[SequenceResult]:
        so_far = None
        if before.done:
            write = write_of(before.done, unique_ids(state))
            after = None if before.start is None else write.apply(before.start)
            so_far = write.answer_read_back(before.read_back(state, after))
        return chunks(api, state, deadline, part, unique_ids(state), so_far)

    call = Call(
        what="observe_sequence",
        request=_digest("observe_sequence", write_of(count).body, learn_at_end),
        observations=count,
        learns=learn_at_end and count > 0,
        run=run,
        answer=answer,
    )
    return _once(call, key, position)


def learn(key: Any, position: Any) -> CallFlow[LearnResult]:
    """Return the flow of a call that learns the memory."""
    if key is None and position is None:
        return learning.learn

    def run(
        api: KatoApi, state: SessionState, deadline: float, before: Before, part: MakePart
    ) -> Flow[LearnResult]:
        return learning.learn(api, state, deadline, part=part(1, 0))

    def answer(state: SessionState, before: Before) -> LearnResult:
        return {**_learned(before), "session_id": state.id or ""}

    call = Call("learn", _digest("learn"), observations=0, learns=True, run=run, answer=answer)
    return _once(call, key, position)


MakeWrite = Callable[[KatoApi, SessionState, float, CallPart | None], Flow[Acknowledgement]]
"""Makes one write, as a part of a call."""


def clear(write: Write[Acknowledgement], key: Any) -> CallFlow[Acknowledgement]:
    """Return the flow of a call that empties the memory, ``clear_stm`` or ``clear_all``."""

    def make(
        api: KatoApi, state: SessionState, deadline: float, part: CallPart | None
    ) -> Flow[Acknowledgement]:
        return execute_write(api, state, deadline, write.of(part))

    return single_write(write, make, key)


def single_write(
    write: Write[Acknowledgement], make: MakeWrite, key: Any, *asked: object
) -> CallFlow[Acknowledgement]:
    """Return the flow of a call of one ``write`` without observations, which is made by ``make``.

    What was changed since must not be lost if it is repeated. So it is recorded as an observation
    is, and not by its answer alone. ``asked`` is what it asks for.
    """
    if key is None:
        return lambda api, state, deadline: make(api, state, deadline, None)

    def run(
        api: KatoApi, state: SessionState, deadline: float, before: Before, part: MakePart
    ) -> Flow[Acknowledgement]:
        return make(api, state, deadline, part(1, 0))

    call = Call(
        what=write.what,
        request=_digest(write.what, *asked),
        observations=0,
        learns=True,
        run=run,
        answer=lambda state, before: write.answer_read_back(before.read_back(state)),
    )
    return _once(call, key, None)


def answered_once(
    flow: CallFlow[R], what: str, asked: Any, key: Any, *, keeps_any: bool = False
) -> CallFlow[R]:
    """Return the flow of a call that has the same effect if it is repeated at once.

    ``what`` names it, ``asked`` is what it asks for, as JSON. ``keeps_any``: its answer is kept
    however long it is.

    Raises:
        ConfigurationError: the key is none.
    """
    checked = checked_idempotency_key(key)
    if checked is None:
        return flow
    request = _digest(what, to_json(asked))
    return partial(
        answer_once, flow=flow, what=what, request=request, key=checked, keeps_any=keeps_any
    )


def _once(call: Call[R], key: Any, position: Any) -> CallFlow[R]:
    """Return the flow that makes a call once.

    Raises:
        ConfigurationError: the key or the position is none.
    """
    checked = checked_idempotency_key(key)
    return partial(call_once, call=call, key=checked, position=checked_position(position))


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


def _learned(before: Before) -> LearnResult:
    """Return the result of a learn that an earlier call has made."""
    return {
        "status": "learned",
        "pattern_name": before.pattern,
        "session_id": "",
        "processor_id": None,
        "message": "it was learned by an earlier call with this idempotency key or position",
    }


def _digest(*parts: object) -> str:
    """Return a digest of what a call asks for."""
    return hashlib.sha256(to_json([str(part) for part in parts])).hexdigest()[:32]
