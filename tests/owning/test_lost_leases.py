"""Calls whose lease is lost between their request and its answer: what their errors say, and what a
later owner's cut shows of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kato_consul._flow import Send
from kato_consul._kato import configuration, reads, repeatable, writes
from kato_consul._kato.execute import settle_call
from kato_consul._kato.learning import learn
from kato_consul.errors import OutcomeUnknown
from kato_consul.models import Position
from tests.building import refused
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe, write
from tests.owning.two_owners import CallFlow, OneOwner


@pytest.fixture
def calls() -> Calls:
    """A session with one event, which A owns."""
    calls = Calls()
    calls.call(calls.a, observe("a"))
    return calls


def to(path: str) -> Callable[[Send], bool]:
    """Return whether a request is a write with this path."""
    return lambda send: send.method == "POST" and path in send.target


def send_and_lose(calls: Calls, flow: CallFlow, path: str) -> None:
    """Begin a call of A's; KATO carries its request out, and A's lease ends before the answer."""
    calls.begin(calls.a, flow)
    calls.step_until(calls.a, to(path))
    calls.lose(calls.a)
    calls.a.step()


def stay_in_a_call(calls: Calls, owner: OneOwner) -> None:
    """Let an owner have the session, in a call that does not end."""
    calls.begin(owner, observe("other"))
    calls.step_until(owner, to("/observe"))


POSITION = Position("log", 0, 7)
OBSERVES = {
    "plain": observe("x"),
    "with a key": observe("x", "k"),
    "with a position": repeatable.observe({"strings": ["x"]}, None, POSITION),
}


@pytest.mark.parametrize("flow", OBSERVES.values(), ids=OBSERVES)
@pytest.mark.parametrize("reason", ["another has it", "no directory", "no instance"])
def test_sent_and_not_owned_again(calls: Calls, flow: CallFlow, reason: str) -> None:
    """The write is applied, and this is not known: the error does not say that it was not sent."""
    send_and_lose(calls, flow, "/observe")
    if reason == "another has it":
        stay_in_a_call(calls, calls.b)
        calls.a.finish([])
    elif reason == "no directory":
        calls.store.down = True
        calls.a.finish([])
    else:
        answer, calls.kato.answer = calls.kato.answer, lambda send: refused()  # type: ignore[method-assign]
        calls.a.finish([])
        calls.kato.answer = answer  # type: ignore[method-assign]
    calls.store.down = False
    error = calls.error_of(calls.a)
    assert isinstance(error, OutcomeUnknown), error
    if calls.b.running is not None:
        calls.end(calls.b)
    assert calls.call(calls.a, settle_call) is True
    assert calls.symbols(calls.b).count("x") == 1


def test_parts_before_it_are_applied(calls: Calls) -> None:
    """The error of a sequence tells how many observations are certainly applied."""
    sequence = repeatable.observe_sequence(
        [{"strings": [f"s{number}"]} for number in range(3)],
        "k",
        None,
        chunk=1,
        learn_after_each=False,
        learn_at_end=False,
        clear_stm_between=False,
        progress=None,
    )
    calls.begin(calls.a, sequence)
    calls.step_until(calls.a, to("/observe-sequence"))
    calls.a.step()
    calls.step_until(calls.a, to("/observe-sequence"))
    calls.lose(calls.a)
    stay_in_a_call(calls, calls.b)
    calls.a.finish([])
    error = calls.error_of(calls.a)
    assert error.applied == 1
    assert error.sent is not False


CONFIG = partial(configuration.set_config, values={"max_pattern_length": 5})


def test_a_configuration_that_is_not_set(calls: Calls) -> None:
    """A is stopped before it sends it. The counter and the memory are as expected all the same; it
    is set in the session of the later owner."""
    calls.begin(calls.a, CONFIG)
    calls.step_until(calls.a, to("/config"))
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    calls.end(calls.a)
    assert calls.call(calls.b, reads.config)["max_pattern_length"] == 5
    assert calls.symbols(calls.b) == ["a", "b"]


@pytest.mark.parametrize("sets", [True, False])
def test_a_configuration_that_is_settled(calls: Calls, sets: bool) -> None:
    """`settle` tells whether the later owner has opened the session with it."""
    if sets:
        calls.call(calls.a, CONFIG)
    calls.begin(calls.a, CONFIG)
    calls.step_until(calls.a, to("/config"))
    calls.a.step()
    calls.a.cancel()
    calls.lose(calls.a)
    calls.call(calls.b, observe("b"))
    assert calls.call(calls.a, settle_call) is sets
    assert calls.call(calls.b, reads.config)["max_pattern_length"] == (5 if sets else 0)


@pytest.mark.parametrize("deletes", [True, False])
def test_a_configuration_that_is_replaced(calls: Calls, deletes: bool) -> None:
    """A is stopped when KATO shows that it is set. The later owner has it, and goes on with another
    one, or with none: A's call is done."""
    calls.kato.faults = [Fault.LOST_ANSWER]
    calls.begin(calls.a, CONFIG)
    calls.step_until(calls.a, lambda send: send.method == "DELETE")  # of the session that it left
    calls.lose(calls.a)
    others = partial(configuration.set_config, values={"max_pattern_length": 7})
    calls.alone(calls.b, reads.delete if deletes else others)
    assert calls.end(calls.a) is None
    assert calls.call(calls.b, reads.config)["max_pattern_length"] == (5 if deletes else 7)


def test_a_clear_all_that_changes_no_counter(calls: Calls) -> None:
    """The memory is empty before and after it: a cut does not show whether the node was cleared."""
    calls.call(calls.a, observe("b"))
    calls.call(calls.a, learn)
    calls.call(calls.a, write(writes.clear_stm()))
    calls.begin(calls.a, write(writes.clear_all()))
    calls.step_until(calls.a, to("/clear-all"))
    calls.a.cancel()
    calls.lose(calls.a)
    assert calls.symbols(calls.b) == []
    with pytest.raises(OutcomeUnknown):
        calls.call(calls.a, settle_call)
    assert calls.kato.patterns


def test_the_time_to_live_is_extended(calls: Calls) -> None:
    """It is sent again, since the later owner's session does not have it."""
    calls.begin(calls.a, write(writes.extend(999)))
    calls.step_until(calls.a, to("/extend"))
    calls.lose(calls.a)
    calls.alone(calls.b, observe("b"))
    calls.kato.requests.clear()
    calls.end(calls.a)
    assert ("POST", "extend") in calls.kato.requests


@pytest.mark.parametrize("applied", [True, False])
def test_newer_keys_displace_that_of_the_call(calls: Calls, applied: bool) -> None:
    """A later owner finds the write, and makes so many calls with keys that the entry does not have
    this one any more. It is there once."""
    calls.begin(calls.a, observe("x", "k"))
    calls.step_until(calls.a, to("/observe"))
    calls.lose(calls.a)
    if applied:
        calls.a.step()
    for number in range(40):
        calls.alone(calls.b, observe(f"b{number}", f"key {number}"))
    if not applied:
        calls.a.step()
    answer: Any = calls.end(calls.a)
    symbols = calls.symbols(calls.b)
    assert symbols.count("x") == 1
    assert calls.call(calls.a, observe("x", "k")) == answer
    assert calls.symbols(calls.b) == symbols
