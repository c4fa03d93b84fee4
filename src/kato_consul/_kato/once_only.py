"""Writes that are applied once only: what learns, and what deletes what was learned.

Applied twice they leave a trace that no session shows: a pattern that is counted twice, or a node
that is emptied again. So such a write is sent again only if it is proven that it was not applied
and will not be. That it has no effect in the session is no proof, nor is that its instance, a
process beside it or a gateway answers another request.
"""

from typing import Any

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.pattern_store import PREFIX, read_frequency
from kato_consul._kato.reconcile import lock_barrier
from kato_consul._kato.replacement import leave_session, read_session
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.write import Write
from kato_consul._requests.classify import Delivery, classify
from kato_consul.errors import NoResponse, OutcomeUnknown, SessionGone


def settle_once_only(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    write: Write[Any],
    *,
    answered: bool = False,
) -> Flow[bool | None]:
    """Flow: return whether a write that is once only was applied; None if that is not proven.

    | evidence                                                          | applied |
    | ----------------------------------------------------------------- | ------- |
    | the session was saved with the write's effect                     | yes     |
    | the pattern's frequency rose, and no other session teaches it     | yes     |
    | the write was answered with an error, the frequency is unchanged  | no      |
    | anything else                                                     | unknown |

    The frequency is known only of a pattern that was learned before (`read_frequency`).
    ``answered``: KATO returned an error, so it has finished with the write. If this returns True,
    the journal includes the write.
    """
    journal = state.journal
    after = write.apply(journal)
    unchanged = False
    try:
        time, stm = yield from read_session(api, state, deadline, follow_up=True)
    except SessionGone:
        pass
    else:
        changes = (after.time, after.events) != (journal.time, journal.events)
        if changes and after.matches(time, stm):
            state.commit(after, write)
            return True
        unchanged = journal.matches(time, stm)
    pattern = write.pattern
    if pattern is None or pattern.frequency is None:
        return None
    frequency = yield from read_frequency(api, state.node_id, pattern.name, deadline)
    if frequency is None:
        return None
    if frequency > pattern.frequency and state.teaches_alone:
        # Counted, and the session may or may not be saved later: it is left.
        state.note_applied(write)
        yield from leave_session(api, state, after, deadline, applied=write)
        return True
    if answered and unchanged and frequency == pattern.frequency:
        return False
    return None


def wait_for_instance(
    api: KatoApi, state: SessionState, instance_id: str, deadline: float
) -> Flow[None]:
    """Flow: wait until the instance responds again, or no request reaches it any more.

    Only then is it worth while to read whether it has applied a write.

    Raises:
        NoResponse: it sent no response until the deadline.
    """
    delays = api.retry_delays()
    while (remaining := deadline - api.now()) > 0:
        request = lock_barrier(state, api.attempt_timeout)
        outcome = yield from api.failover.attempt(request, instance_id, deadline, listed=False)
        if outcome is not None and classify(outcome) is not Delivery.UNKNOWN:
            return
        yield Sleep(min(next(delays), remaining))
    raise NoResponse(f"{instance_id} sent no response until the deadline")


def require_no_doubt(api: KatoApi, state: SessionState, deadline: float) -> Flow[bool]:
    """Flow: return whether an earlier learn of this memory, without an outcome, was applied.

    If it was, the memory is emptied, as a learn does. False: there is no such learn.

    Raises:
        OutcomeUnknown: it may still be applied.
    """
    doubt = state.doubtful_learn
    if doubt is None or not doubt.is_about(state.journal):
        state.doubtful_learn = None
        return False
    pattern, rose = doubt.write.pattern, False
    if pattern is not None and pattern.frequency is not None and state.teaches_alone:
        frequency = yield from read_frequency(api, state.node_id, pattern.name, deadline)
        rose = frequency is not None and frequency > pattern.frequency
    if not rose:
        raise OutcomeUnknown(
            doubt.write.what,
            state.instance or "",
            "an earlier learn of this memory has no outcome, and may still be applied. After "
            "clear_stm, or another observation, the memory is a new one and can be learned",
            pattern="" if pattern is None else PREFIX + pattern.name,
        )
    state.note_applied(doubt.write)
    yield from leave_session(api, state, state.journal.learned(), deadline)
    state.note_confirmed(doubt.write)
    state.doubtful_learn = None
    return True
