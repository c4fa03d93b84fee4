"""Idempotency keys: a call that is made again is applied once, and answered the same."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kato_consul._directory.entry import MAX_KEYS
from kato_consul._flow import Outcome, Send, Step
from kato_consul._kato import repeatable
from kato_consul._kato.execute import settle
from kato_consul._kato.ownership import CallFlow
from kato_consul.errors import (
    ConfigurationError,
    IdempotencyKeyReused,
    KatoConsulError,
    OutcomeUnknown,
)
from tests.kato.model_kato import Fault
from tests.kato.repeating_client import RepeatingClient, at, sequence_flow

NO_FAULT: Any = None
"""A request without a fault."""

Make = Callable[[str], CallFlow[Any]]

CALLS: dict[str, Make] = {
    "observe": lambda key: repeatable.observe({"strings": ["a"]}, key, None),
    "sequence": lambda key: sequence_flow("a", "b", "c", "d", "e", key=key, position=None),
    "long sequence": lambda key: sequence_flow(
        *[f"{number:02}" for number in range(50)], key=key, position=None, chunk=20
    ),
    "empty sequence": lambda key: sequence_flow(key=key, position=None),
    "lesson": lambda key: sequence_flow("a", "b", "c", key=key, position=None, learn_at_end=True),
    "lessons": lambda key: sequence_flow(
        "a", "b", "c", key=key, position=None, learn_after_each=True
    ),
    "cleared between": lambda key: sequence_flow(
        "a", "b", "c", "d", "e", key=key, position=None, clear_stm_between=True
    ),
    "learn": lambda key: repeatable.learn(key, None),
}


def result_of(client: RepeatingClient) -> tuple[list[str], dict[str, int]]:
    """Return what KATO has of a session and its node."""
    return client.stm, client.learned


def counters(answer: dict[str, Any]) -> list[Any]:
    """Return what an answer tells of the session: also one that is too long to be kept."""
    names = ("time", "stm_length", "final_stm_length", "pattern_name", "final_learned_pattern")
    times = [one["time"] for one in answer.get("results", ())]
    return [times, *(answer.get(name) for name in names)]


@pytest.mark.parametrize("name", CALLS)
def test_call_is_answered_the_same_again(name: str) -> None:
    """A repetition sends nothing, also after other calls; its answer has the same counters."""
    client = RepeatingClient()
    client.observe("x")
    client.observe("y")
    first = client.play(CALLS[name]("k"))
    before, sent = result_of(client), client.sent
    again = client.play(CALLS[name]("k"))
    assert (result_of(client), client.sent) == (before, sent)
    assert counters(again) == counters(first)
    client.observe("z")
    client.clear_stm()
    sent = client.sent
    assert counters(client.play(CALLS[name]("k"))) == counters(first)
    assert (client.stm, client.sent) == ([], sent)


@pytest.mark.parametrize("other", [name for name in CALLS if name != "observe"])
def test_key_of_another_call_is_refused(other: str) -> None:
    """Other arguments, or another method: nothing is sent."""
    client = RepeatingClient()
    client.play(CALLS["observe"]("k"))
    sent = client.sent
    with pytest.raises(IdempotencyKeyReused) as caught:
        client.play(CALLS[other]("k"))
    assert (caught.value.key, caught.value.sent, client.sent) == ("k", False, sent)
    with pytest.raises(IdempotencyKeyReused):
        client.observe("b", key="k")


def test_an_answer_cannot_be_changed_by_its_receiver() -> None:
    """Each repetition is given a copy of its own."""
    client = RepeatingClient()
    first = client.observe("a", key="k")
    expected = dict(first)
    first["time"] = 1_000
    client.observe("a", key="k")["time"] = 2_000
    assert client.observe("a", key="k") == expected


def test_window() -> None:
    """The last 32 keys of a session are known, an older one is not."""
    client = RepeatingClient()
    for number in range(MAX_KEYS + 1):
        client.observe(f"{number:02}", key=f"k{number}")
    for number in range(1, MAX_KEYS + 1):
        client.observe(f"{number:02}", key=f"k{number}")
    assert len(client.stm) == MAX_KEYS + 1
    client.observe("00", key="k0")
    assert len(client.stm) == MAX_KEYS + 2


def test_calls_that_were_not_sent_take_no_place_in_the_window() -> None:
    """A key is known once something of its call may be applied."""
    observe_b = partial(repeatable.observe, {"strings": ["b"]}, position=None)
    client = RepeatingClient()
    client.observe("a", key="k")
    for number in range(2 * MAX_KEYS):
        with pytest.raises(KatoConsulError):
            client.play(observe_b(f"other {number}"), within=-1.0)
    client.observe("a", key="k")
    assert client.stm == ["a"]


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("name", CALLS)
def test_repeated_until_it_is_answered(name: str, fault: Fault) -> None:
    """Whatever becomes of the first attempt, a caller that repeats the call has it applied once, or
    is told that this is not known."""
    plain, client = RepeatingClient(), RepeatingClient()
    for each in (plain, client):
        each.observe("x")
        each.observe("y")
    plain.play(CALLS[name]("k"))
    client.kato.faults = [fault]
    told = False
    for _ in range(5):
        try:
            client.play(CALLS[name]("k"), within=10.0)
        except OutcomeUnknown:
            told = True
        except KatoConsulError:
            continue
        else:
            assert result_of(client) == result_of(plain)
            client.kato.wake()
            assert result_of(client) == result_of(plain)
            return
    assert told
    assert name in ("learn", "lesson", "lessons")
    client.kato.wake()
    assert all(count == 1 for count in client.learned.values())


def answer_to(step: Step, client: RepeatingClient) -> Outcome | None:
    """Return KATO's answer, if the step is a request."""
    return client.player.answer(step) if isinstance(step, Send) else None


@pytest.mark.parametrize("name", CALLS)
def test_cancelled_at_any_step_and_repeated(name: str) -> None:
    """A call that is cancelled at any of its steps, before or after it took effect, is applied once
    by its repetition; a sequence goes on with what is missing."""
    plain = RepeatingClient()
    plain.observe("x")
    plain.observe("y")
    plain.play(CALLS[name]("k"))
    for steps in range(40):
        for effect in (False, True):
            client = RepeatingClient()
            client.observe("x")
            client.observe("y")
            flow = CALLS[name]("k")(client.api, client.state, client.kato.clock.now + 60.0)
            ended = False
            try:
                step = next(flow)
                for _ in range(steps):
                    step = flow.send(answer_to(step, client))
            except StopIteration:
                ended = True
            if effect and not ended:
                answer_to(step, client)  # it is never read
            flow.close()
            try:
                client.play(CALLS[name]("k"))
            except OutcomeUnknown:
                assert name in ("learn", "lesson", "lessons")
                assert all(count == 1 for count in client.learned.values())
            else:
                assert result_of(client) == result_of(plain), (steps, effect)


def test_refused_call_may_be_repeated() -> None:
    """A call that was refused is not applied: its repetition is sent, also after other calls."""
    client = RepeatingClient()
    client.observe("a")
    client.kato.faults = [Fault.SERVER_ERROR] * 3
    with pytest.raises(KatoConsulError):
        client.play(repeatable.observe({"strings": ["b"]}, "k", None), within=0.01)
    client.observe("c")
    client.observe("b", key="k")
    client.observe("b", key="k")
    assert client.stm == ["a", "c", "b"]


@pytest.mark.parametrize("learn_at_end", [False, True])
def test_counters_of_a_sequence_that_was_refused_in_the_middle(learn_at_end: bool) -> None:
    """Its repetition goes on after the part that is applied, and is answered as if all were new."""
    client = RepeatingClient()
    client.observe("a")
    call = partial(client.sequence, "b", "c", "d", "e", key="k", learn_at_end=learn_at_end)
    client.kato.faults = [NO_FAULT, *[Fault.NOT_SENT] * 1_000]
    with pytest.raises(KatoConsulError) as caught:
        call()
    assert caught.value.applied == 2
    client.kato.faults = []
    assert [one["time"] for one in call()["results"]] == [2, 3, 4, 5]


def test_outcome_that_is_settled_later() -> None:
    """What ``settle`` finds applied is the answer of the repetition."""
    client = RepeatingClient()
    client.observe("a")
    client.kato.faults = [Fault.HANG_APPLIED]
    flow = repeatable.observe({"strings": ["b"]}, "k", None)
    with pytest.raises(OutcomeUnknown):
        client.play(flow, within=0.5)
    assert client.play(settle) is True
    sent = client.sent
    assert client.observe("b", key="k")["time"] == 2
    assert (client.stm, client.sent) == (["a", "b"], sent)


def test_learn_without_an_outcome_is_never_sent_again() -> None:
    """Also after the memory was changed: another call with that key would count a pattern that the
    first one may still count."""
    client = RepeatingClient()
    client.sequence("a", "b")
    client.kato.faults = [Fault.COUNTED]
    with pytest.raises(OutcomeUnknown):
        client.learn(key="k")
    client.observe("c")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            client.learn(key="k")
    assert client.learned == {"ab": 1}
    client.learn(key="another")
    assert client.learned == {"ab": 1, "abc": 1}


def test_automatic_learn_without_an_outcome_is_never_sent_again() -> None:
    """An observation with which KATO learns by itself, too."""
    client = RepeatingClient(max_pattern_length=2)
    client.observe("a")
    client.kato.faults = [Fault.COUNTED]
    with pytest.raises(OutcomeUnknown):
        client.observe("b", key="k")
    client.observe("c", key="other")
    with pytest.raises(OutcomeUnknown):
        client.observe("b", key="k")
    assert client.learned == {"ab": 1, "ac": 1}


def test_keys_belong_to_a_session() -> None:
    """The same key of another session is another call."""
    one, other = RepeatingClient(), RepeatingClient()
    one.observe("a", key="k")
    other.observe("b", key="k")
    assert (one.stm, other.stm) == (["a"], ["b"])


@pytest.mark.parametrize("key", ["", "x" * 256, 5, b"k", True])
def test_what_is_no_key(key: Any) -> None:
    """A key is a text of 1 to 255 characters."""
    with pytest.raises(ConfigurationError, match="idempotency_key must be a text"):
        repeatable.learn(key, None)


def test_key_and_position() -> None:
    """Each of them alone keeps a call from being applied again."""
    client = RepeatingClient()
    client.observe("a", key="k1", position=at(1))
    client.observe("a", key="k1", position=at(5))  # written to the log twice
    client.observe("a", key="k2", position=at(5))
    assert client.stm == ["a"]
    client.observe("b", key="k3", position=at(6))
    assert (client.stm, client.position()) == (["a", "b"], at(6))
