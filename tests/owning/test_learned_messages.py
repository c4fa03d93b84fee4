"""Messages of a log that learn, whose call ends before it has their answer: a later call shows that
they are applied, and they are not applied again."""

from functools import partial

import pytest

from kato_consul._kato import reads, repeatable
from kato_consul._kato.repeated_calls import position_of
from kato_consul._kato.types import Observation
from kato_consul.errors import OutcomeUnknown
from kato_consul.models import Position
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe
from tests.owning.two_owners import CallFlow

MESSAGE = Position("log", 0, 5)
EVENTS: list[Observation] = [{"strings": [symbol]} for symbol in "cd"]
KINDS = {
    "learn": repeatable.learn(None, MESSAGE),
    "lesson": repeatable.observe_sequence(
        EVENTS,
        None,
        MESSAGE,
        chunk=2,
        learn_after_each=False,
        learn_at_end=True,
        clear_stm_between=False,
        progress=None,
    ),
}


@pytest.mark.parametrize("flow", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("next_one", ["A", "B"])
def test_cancelled(flow: CallFlow, next_one: str) -> None:
    """KATO has learned it, and the caller is cancelled. The next call settles it."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, observe("b"))
    calls.begin(calls.a, flow)
    calls.step_until(calls.a, lambda send: send.target.endswith("/learn"))
    calls.kato.faults = [Fault.LOST_ANSWER]
    calls.a.step()
    calls.a.cancel()
    calls.call(calls.a, observe("x"))
    owner = calls.a if next_one == "A" else calls.b
    assert calls.call(owner, partial(position_of, log="log")) == MESSAGE
    calls.call(owner, flow)
    assert calls.symbols(owner) == ["x"]
    assert calls.kato.patterns.total() == 1


def test_learned_in_a_session_that_was_left() -> None:
    """Its instance hangs, and saves the session when B has continued it in another one, with the
    memory as it was. So the message does not count as applied."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    calls.call(calls.a, observe("b"))
    calls.kato.faults = [Fault.HANG_READ]
    calls.begin(calls.a, KINDS["learn"])
    calls.step_until(calls.a, lambda send: send.target.endswith("/learn"))
    calls.step_until(calls.a, lambda send: send.target.endswith("/observe-sequence"))
    calls.lose(calls.a)
    assert calls.alone(calls.b, reads.stm) == [["a"], ["b"]]
    with pytest.raises(OutcomeUnknown):
        calls.end(calls.a)
    with pytest.raises(OutcomeUnknown):
        calls.call(calls.a, KINDS["learn"])
    assert calls.symbols(calls.b) == ["a", "b"]
