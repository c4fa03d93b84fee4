"""Learning: learns the short-term memory as a pattern, exactly as often as the caller asks."""

from kato_consul._flow import Flow
from kato_consul._kato.apply_write import apply_write
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.execute import prepare, settle, settle_sent
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.once_only import require_no_doubt
from kato_consul._kato.ownership import LeaseLost, resume
from kato_consul._kato.pattern_store import read_pattern_count
from kato_consul._kato.reconcile import read_memory
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import LearnResult
from kato_consul._kato.write import Write
from kato_consul._kato.writes import learn as learn_write
from kato_consul.errors import BadRequest


def learn(
    api: KatoApi, state: SessionState, deadline: float, *, part: CallPart | None = None
) -> Flow[LearnResult]:
    """Flow: learn the memory once. If an earlier call without an outcome has, that is the result.

    ``part`` is what this is of a call that may be repeated.

    The memory and the pattern's frequency are read before it, since a learned pattern cannot be
    removed: one is what is learned, the other tells later whether it was.

    Raises:
        BadRequest: the memory is empty.
        OutcomeUnknown: it may have been learned, or an earlier learn of this memory may still be.
        PatternNotStored: KATO counted the pattern and has no row of it.
        SessionConflict, KatoConsulError: see `apply_write`.
    """
    sent: Write[LearnResult] | None = None
    while True:
        try:
            return (yield from _learn_while_owned(api, state, deadline, part, sent))
        except LeaseLost:
            if part is not None:  # the call may have been repeated in another process
                raise
            # It raises if a learn that was sent is not seen: that is never sent again.
            earlier = state.pending
            sent = earlier if earlier is not None and earlier.is_learn else learn_write()
            if (yield from resume(api, state, deadline, sent)):
                answer: LearnResult = sent.answer_read_back(state.read_back())
                return answer


def _learn_while_owned(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    part: CallPart | None,
    sent: Write[LearnResult] | None,
) -> Flow[LearnResult]:
    """Flow: learn the memory. ``sent`` is the learn whose lease was lost before its answer."""
    api.place_session(state)
    earlier = state.pending
    if earlier is None and state.doubtful_learn is not None:
        earlier = state.doubtful_learn.write
    if earlier is not None and earlier.is_learn and not state.deleting:
        # It raises if that one may still be applied. If it was, it is what this call asks for.
        if earlier is sent:
            settling = settle_sent(api, state, deadline, earlier)
        else:
            settling = settle(api, state, deadline)
        if (yield from settling):
            answer: LearnResult = earlier.answer_read_back(state.read_back())
            return answer
    else:
        yield from prepare(api, state, deadline)
        yield from require_no_doubt(api, state, deadline)
    events = yield from read_memory(api, state, deadline)
    if not events:
        # KATO's own error, without a request.
        raise BadRequest("learn", str(state.instance), 400, "Cannot learn from empty STM")
    pattern = yield from read_pattern_count(api, state.node_id, events, deadline)
    return (yield from apply_write(api, state, deadline, learn_write(pattern).of(part)))
