"""A configuration that is set with an idempotency key, by an owner that dies or loses it."""

from typing import Any

import pytest

from kato_consul._kato import whole_responses
from kato_consul.errors import IdempotencyKeyReused, OutcomeUnknown
from tests.kato.model_kato import Fault
from tests.owning.calling import Calls, observe
from tests.owning.two_owners import CallFlow


def configure(value: int, key: str | None = None) -> CallFlow:
    """Return a call that sets a value."""
    return whole_responses.configure({"persistence": value}, key)


def value_in(calls: Calls, *, alone: bool = False) -> Any:
    """Return the value that KATO uses, as B reads it."""
    call = calls.alone if alone else calls.call
    return call(calls.b, whole_responses.read("config"))["config"]["persistence"]


def begin_until_kato_has_it(calls: Calls, value: int) -> None:
    """Let A set a value with a key, until KATO has applied it."""
    calls.call(calls.a, observe("x"))
    calls.begin(calls.a, configure(value, "k"))
    calls.step_until(calls.a, lambda send: send.target.endswith("/config"))
    calls.a.step()


@pytest.mark.parametrize("steps", range(4))
def test_repeated_after_the_owner_has_died(steps: int) -> None:
    """What another process has set since stays. The owner is lost ``steps`` steps after KATO has
    applied the first one."""
    calls = Calls()
    begin_until_kato_has_it(calls, 9)
    for _ in range(steps):
        if calls.a.running is not None:
            calls.a.step()
    calls.lose(calls.a)
    assert calls.alone(calls.b, configure(9, "k"))["status"] == "okay"
    assert value_in(calls, alone=True) == 9
    calls.alone(calls.b, configure(3))
    assert calls.alone(calls.b, configure(9, "k"))["status"] == "okay"
    assert value_in(calls, alone=True) == 3


def test_owner_that_goes_on() -> None:
    """So it does if the owner was only stopped, and goes on after the repetition."""
    calls = Calls()
    begin_until_kato_has_it(calls, 9)
    calls.lose(calls.a)
    calls.alone(calls.b, configure(9, "k"))
    calls.alone(calls.b, configure(3, "other"))
    assert calls.end(calls.a)["status"] == "okay"
    assert value_in(calls) == 3


def test_another_value_meanwhile() -> None:
    """While its owner is stopped, its key cannot be used for another value."""
    calls = Calls()
    begin_until_kato_has_it(calls, 9)
    calls.lose(calls.a)
    with pytest.raises(IdempotencyKeyReused):
        calls.alone(calls.b, configure(4, "k"))
    assert calls.end(calls.a)["status"] == "okay"
    assert value_in(calls) == 9


def test_repeated_after_an_unknown_outcome() -> None:
    """A call that ended without an outcome, and is settled by a later one, is not made again."""
    calls = Calls()
    calls.call(calls.a, observe("x"))
    calls.begin(calls.a, configure(9, "k"))
    calls.step_until(calls.a, lambda send: send.target.endswith("/config"))
    calls.kato.faults = [Fault.LOST_ANSWER, *[Fault.NOT_SENT] * 100_000]
    calls.a.finish([calls.b])
    assert isinstance(calls.error_of(calls.a), OutcomeUnknown)
    calls.kato.faults = []
    calls.call(calls.a, configure(3))
    assert calls.call(calls.a, configure(9, "k"))["status"] == "okay"
    assert value_in(calls) == 3


def test_owner_that_is_stopped_after_it_has_left_the_session() -> None:
    """KATO has not answered, so the owner goes on in a new session with the value. The entry has
    the session and the call at once."""
    calls = Calls()
    calls.call(calls.a, observe("x"))
    calls.kato.faults = [Fault.HANG_APPLIED]
    calls.begin(calls.a, configure(9, "k"))
    calls.step_until(calls.a, lambda send: send.method == "DELETE")
    calls.lose(calls.a)
    calls.alone(calls.b, configure(3))
    assert calls.end(calls.a)["status"] == "okay"
    assert value_in(calls) == 3


@pytest.mark.parametrize("key", [None, "k"])
def test_owner_that_is_stopped_before_it_reads_the_value_back(key: str | None) -> None:
    """KATO has acknowledged it, and it is recorded: another process may have set others since."""
    calls = Calls()
    calls.call(calls.a, observe("x"))
    calls.begin(calls.a, configure(9, key))
    calls.step_until(calls.a, lambda send: send.method == "GET" and "/config" in send.target)
    calls.lose(calls.a)
    calls.alone(calls.b, configure(3))
    assert calls.end(calls.a)["status"] == "okay"
    assert value_in(calls) == 3
