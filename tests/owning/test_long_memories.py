"""Memories of more events than KATO keeps: takeovers compare them by what KATO has."""

import pytest

from kato_consul._kato.journal import MAX_STM_EVENTS
from kato_consul._kato.learning import learn
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.types import Observation
from kato_consul.errors import OutcomeUnknown
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe, write


@pytest.fixture
def calls() -> Calls:
    """A session of A's, whose oldest events KATO does not keep any more."""
    calls = Calls()
    events: list[Observation] = [{"strings": [f"s{n}"]} for n in range(MAX_STM_EVENTS + 10)]
    calls.call(calls.a, write(observe_sequence(events)))
    return calls


def test_a_call_with_a_key_that_was_not_sent(calls: Calls) -> None:
    """The next owner does not take it for applied."""
    calls.begin(calls.a, observe("x", "k"))
    calls.step_until(calls.a, lambda send: send.target.endswith("/observe"))
    calls.a.cancel()
    calls.lose(calls.a)
    calls.call(calls.b, observe("x", "k"))
    assert calls.symbols(calls.b)[-1] == "x"


def test_a_learn_without_an_outcome(calls: Calls) -> None:
    """KATO has counted the pattern, and not emptied the memory: it is not learned again."""
    calls.kato.faults = [Fault.COUNTED]
    calls.begin(calls.a, learn)
    calls.step_until(calls.a, lambda send: send.target.endswith("/learn"))
    calls.a.step()
    calls.a.cancel()
    calls.lose(calls.a)
    with pytest.raises(OutcomeUnknown):
        calls.call(calls.b, learn)
    assert calls.kato.patterns.total() == 1
