"""Answered call: a call that may be applied twice at once, but is answered once for its key.

Only its answer is recorded: unlike with `repeated_calls`, not whether it was applied.
"""

import copy
from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import CallFlow, Ownership
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import IdempotencyKeyReused

R = TypeVar("R")


def answer_once(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    flow: CallFlow[R],
    what: str,
    request: str,
    key: str,
    keeps_any: bool = False,
) -> Flow[R]:
    """Flow: run ``flow``, or return what it returned for ``key`` before.

    It is for calls that have the same effect if they are repeated at once: an answer is recorded
    before the session is changed again, and is lost only with the process that was to record it.
    ``keeps_any``: also an answer that is long.

    Raises:
        IdempotencyKeyReused: the key was used for another call.
    """
    own = state.ownership = state.ownership or Ownership()
    record = None if own.calls is None else own.calls.keys.get(key)
    if record is not None and record.request != request:
        raise IdempotencyKeyReused(key, what)
    if record is not None and record.answer is not None:
        kept: Any = copy.deepcopy(record.answer)
        return kept  # type: ignore[no-any-return]
    result = yield from flow(api, state, deadline)
    calls = own.calls = own.calls or CallRecords()  # those of the owner that it ended under
    calls.answered(key, request, 1, result, keeps_any=keeps_any)
    calls.unrecorded = True
    return result
