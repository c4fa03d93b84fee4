"""Ends of calls: what a call says if the directory fails, or its client is closed, after KATO has
carried it out."""

import pytest

from kato_consul._flow import Reply, Send, Sleep
from kato_consul._kato import reads
from kato_consul._kato.execute import settle_call
from kato_consul.errors import ClientClosed, OutcomeUnknown
from tests.owning.calling import Calls, observe
from tests.owning.two_owners import KEY


def test_a_deletion_that_is_not_recorded() -> None:
    """KATO has deleted the session, and the directory is away: the call was sent."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.begin(calls.a, reads.delete)
    calls.step_until(calls.a, lambda send: send.method == "DELETE")
    calls.a.step()
    calls.store.down = True
    calls.a.finish([])
    assert isinstance(calls.error_of(calls.a), OutcomeUnknown)
    assert calls.kato.sessions == {}
    calls.store.down = False
    assert calls.call(calls.a, settle_call) is True
    assert calls.symbols(calls.b) == []


def test_a_client_is_closed_while_a_call_hands_the_session_over() -> None:
    """The call has ended, with KATO's answer: it does not say that nothing was sent."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    owner, clock = calls.a, calls.kato.clock
    deadline = clock.now + 300.0
    flow = owner.owner.run(owner.api, observe("x"), owner.state, deadline)
    step = next(flow)
    while not (isinstance(step, Send) and step.target.endswith("/observe")):
        step = flow.send(None)
    answer = calls.kato.answer(step)
    assert isinstance(answer, Reply)
    assert owner.state.ownership is not None
    assert owner.state.ownership.held is not None
    owner.state.ownership.held.wanted = True
    owner.state.ownership.held.acquired_at -= 1.0
    assert isinstance(flow.send(answer), Sleep)  # it is being released
    with pytest.raises(StopIteration) as ended:
        flow.throw(ClientClosed("closed"))
    assert ended.value.value["stm_length"] == 2
    assert KEY not in owner.owned.states
