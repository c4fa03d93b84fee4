"""Calls from a progress callback that acquire the session again: another process may have repeated
the call in hand meanwhile."""

import pytest

from kato_consul._flow import Flow, Send, Sleep
from kato_consul._kato import reads, repeatable
from kato_consul._kato.sequence_chunks import Progress
from kato_consul._kato.types import Observation
from tests.owning.calling import Calls
from tests.owning.two_owners import CallFlow, OneOwner

EVENTS: list[Observation] = [{"strings": [symbol]} for symbol in "abc"]


def sequence(progress: Progress | None = None) -> CallFlow:
    """Return a call with a key, which observes in chunks of one."""
    return repeatable.observe_sequence(
        EVENTS,
        "k",
        None,
        chunk=1,
        learn_after_each=False,
        learn_at_end=False,
        clear_stm_between=False,
        progress=progress,
    )


def nested(calls: Calls, owner: OneOwner, other: OneOwner) -> None:
    """Read the session from within a call of ``owner``, while ``other`` hands it over."""
    flow: Flow[object] = owner.owner.run(
        owner.api, reads.stm, owner.state, calls.kato.clock.now + 300.0
    )
    try:
        step = next(flow)
        while True:
            outcome = calls.kato.answer(step) if isinstance(step, Send) else None
            if isinstance(step, Sleep):
                calls.kato.clock.now += step.seconds
            if other.running is None:
                other.hand_over_if_wanted()
            else:
                other.step()
            step = flow.send(outcome)
    except StopIteration:
        return


@pytest.mark.parametrize("when", [1, 2, 3])
def test_repeated_in_another_process(when: int) -> None:
    """B takes the session over during a callback of A's, and repeats the call. The callback then
    uses the session, and A's call goes on."""
    calls = Calls()

    def progress(done: int, total: int) -> None:
        if done == when:
            calls.lose(calls.a)
            calls.alone(calls.b, sequence())
            nested(calls, calls.a, calls.b)

    assert calls.call(calls.a, sequence(progress))["observations_processed"] == 3
    assert calls.symbols(calls.a) == ["a", "b", "c"]
    calls.call(calls.b, sequence())
    assert calls.symbols(calls.b) == ["a", "b", "c"]
