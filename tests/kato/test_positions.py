"""Positions: each message of a log is applied once, and in order."""

from typing import Any

import pytest

from kato_consul._flow import Send
from kato_consul._kato import repeatable
from kato_consul._kato.log_positions import CHECKPOINT_AFTER, LogPositions
from kato_consul.errors import BadRequest, ConfigurationError, KatoConsulError, OutcomeUnknown
from kato_consul.models import Position
from tests.kato.model_kato import Fault
from tests.kato.repeating_client import LOG, RepeatingClient, at, sequence_flow


@pytest.mark.parametrize(
    ("given", "applied"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0, 0], [0]),
        ([7, 9, 40], [7, 9, 40]),  # the offsets between are of other sessions
        ([7, 9, 7, 9, 10], [7, 9, 10]),
        ([5, 3, 4, 6], [5, 6]),  # offsets that go back
    ],
)
def test_at_or_before_the_last_one_a_message_is_passed_over(
    given: list[int], applied: list[int]
) -> None:
    """Offsets grow, with gaps; a message is known by its offset alone."""
    client = RepeatingClient()
    for offset in given:
        client.observe(f"{offset:02}", position=at(offset))
    assert client.stm == [f"{offset:02}" for offset in applied]
    assert client.position() == at(max(given))


def test_answer_of_a_message_that_is_passed_over() -> None:
    """It is the one that the session's counters give now, and nothing is sent."""
    client = RepeatingClient()
    client.observe("a", position=at(1))
    client.observe("b", position=at(2))
    sent = client.sent
    assert client.observe("a", position=at(1))["time"] == 2
    assert client.sent == sent


def test_position_tells_where_to_go_on() -> None:
    """Of a log, or of the one used last; None before the first message."""
    client = RepeatingClient()
    assert client.position() is None
    client.observe("a", position=at(4))
    client.observe("b", position=at(2, "clicks", partition=3))
    assert client.position() == at(2, "clicks", partition=3)
    assert client.position(LOG) == at(4)
    assert client.position("unknown") is None


def test_partitions_are_logs_of_their_own() -> None:
    """An offset belongs to a partition."""
    client = RepeatingClient()
    for partition in range(3):
        client.observe(f"a{partition}", position=at(5, partition=partition))
        client.observe(f"b{partition}", position=at(5, partition=partition))
    assert client.stm == ["a0", "a1", "a2"]


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.NOT_SENT])
def test_refused_message(fault: Fault) -> None:
    """It can be given again. Once a later one is given, it counts as passed over."""
    client = RepeatingClient()
    client.observe("a", position=at(1))
    client.kato.faults = [fault] * 4
    with pytest.raises(KatoConsulError):
        client.play(repeatable.observe({"strings": ["b"]}, None, at(2)), within=0.01)
    client.kato.faults = []
    assert client.position() == at(1)
    client.observe("b", position=at(2))
    client.kato.faults = [fault] * 4
    with pytest.raises(KatoConsulError):
        client.play(repeatable.observe({"strings": ["c"]}, None, at(3)), within=0.01)
    client.kato.faults = []
    client.observe("d", position=at(4))
    client.observe("c", position=at(3))
    assert client.stm == ["a", "b", "d"]


def test_message_of_several_observations_that_is_left_out_in_the_middle() -> None:
    """What was applied of it is not taken for the message after it."""
    client = RepeatingClient()
    step: Any = None
    flow = sequence_flow("a", "b", "c", "d", "e", key=None, position=at(1))
    running = flow(client.api, client.state, client.kato.clock.now + 60.0)
    step = next(running)
    while client.stm != ["a", "b"]:
        step = running.send(client.player.answer(step) if isinstance(step, Send) else None)
    running.close()
    client.sequence("x", "y", position=at(2))
    client.observe("z", position=at(3))
    assert [one for one in client.stm if one > "e"] == ["x", "y", "z"]


def test_message_of_several_observations_goes_on() -> None:
    """Given again, it goes on with what is missing, also in other chunks."""
    client = RepeatingClient()
    client.kato.faults = [Fault.NOT_SENT]
    flow = sequence_flow("a", "b", "c", "d", "e", key=None, position=at(1))
    running = flow(client.api, client.state, client.kato.clock.now + 60.0)
    step: Any = next(running)
    while client.stm != ["a", "b"]:
        step = running.send(client.player.answer(step) if isinstance(step, Send) else None)
    running.close()
    result = client.sequence("a", "b", "c", "d", "e", position=at(1), chunk=100)
    assert client.stm == ["a", "b", "c", "d", "e"]
    assert [one["time"] for one in result["results"]] == [1, 2, 3, 4, 5]
    assert result["observations_processed"] == 5
    assert client.position() == at(1)


def test_learn() -> None:
    """A learn is a message as well; so is a sequence that is learned at its end."""
    client = RepeatingClient()
    client.sequence("a", "b", position=at(1))
    client.learn(position=at(2))
    client.learn(position=at(2))
    client.sequence("c", "d", position=at(3), learn_at_end=True)
    client.sequence("c", "d", position=at(3), learn_at_end=True)
    client.observe("e", position=at(4))
    client.learn(position=at(3))
    assert (client.learned, client.stm) == ({"ab": 1, "cd": 1}, ["e"])


def test_learn_of_an_empty_memory_is_refused_and_left_out() -> None:
    """KATO learns nothing from it, now or when the log is read again."""
    client = RepeatingClient()
    with pytest.raises(BadRequest):
        client.learn(position=at(1))
    client.sequence("a", "b", position=at(2))
    client.learn(position=at(1))
    assert (client.learned, client.stm) == ({}, ["a", "b"])


@pytest.mark.parametrize("call", ["learn", "observe"])
def test_what_learns_without_an_outcome_is_reported_and_never_sent_again(call: str) -> None:
    """A learn, or an observation with which KATO learns by itself. The reader may go on without."""
    client = RepeatingClient(max_pattern_length=0 if call == "learn" else 3)
    client.sequence("a", "b", position=at(1))
    client.kato.faults = [Fault.COUNTED]
    with pytest.raises(OutcomeUnknown):
        _third(client, call)
    client.observe("x")  # the memory is another one now
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            _third(client, call)
    assert client.position() == at(1)
    client.observe("d", position=at(3))
    _third(client, call)  # passed over
    assert sum(client.learned.values()) == (1 if call == "learn" else 2)


def _third(client: RepeatingClient, call: str) -> None:
    if call == "learn":
        client.learn(position=at(2))
    else:
        client.observe("c", position=at(2))


def test_automatic_learn() -> None:
    """With ``max_pattern_length``, messages are counted as without."""
    client = RepeatingClient(max_pattern_length=2)
    for offset in (1, 2, 3, 2, 3, 4, 5):
        client.observe(f"{offset}", position=at(offset))
    assert (client.learned, client.stm) == ({"12": 1, "34": 1}, ["5"])


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("kind", ["observe", "sequence", "learn", "lesson"])
def test_read_again_after_any_fault(kind: str, fault: Fault) -> None:
    """A reader that repeats a message until it is answered applies it once, or is told."""
    client = RepeatingClient()
    client.observe("a", position=at(1))
    client.observe("b", position=at(2))
    client.kato.faults = [fault]
    for _ in range(4):
        try:
            if kind == "learn":
                client.learn(position=at(3))
            elif kind == "observe":
                client.observe("c", position=at(3))
            else:
                client.sequence("c", "d", "e", position=at(3), learn_at_end=kind == "lesson")
            break
        except OutcomeUnknown:
            assert kind in ("learn", "lesson")
    client.kato.wake()
    client.observe("z", position=at(4))
    has = client.stm + [one for pattern in client.learned for one in pattern]
    assert len(has) == len(set(has)) or kind in ("learn", "lesson")
    assert client.stm[-1] == "z"
    assert all(count == 1 for count in client.learned.values())


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (5, "position must be a Position, not int"),
        (("log", 0, 1), "position must be a Position, not tuple"),
        (Position("log", 0, -1), "offset of a position must be a whole number from 0, not -1"),
        (Position("log", -1, 0), "partition of a position must be a whole number from 0"),
        (Position("log", 0, True), "offset of a position must be a whole number from 0"),
        (Position("log", 0, 1.5), "offset of a position must be a whole number"),  # type: ignore[arg-type]
        (Position("", 0, 1), "log of a position must be the name of a log"),
        (Position(5, 0, 1), "log of a position must be the name of a log"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_position(position: Any, message: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=message):
        repeatable.learn(None, position)


def test_when_the_entry_has_to_be_written() -> None:
    """Before the source changes, before the message after one that was left out, after a learn, and
    after so many observations; not for each message."""
    positions = LogPositions()

    def is_written() -> bool:
        was, positions.unrecorded, positions.unwritten = positions.unrecorded, False, 0
        return was

    def give(position: Position | None, *, applied: bool = True, learns: bool = False) -> None:
        if position is not None:
            positions.give(position)
        positions.come_from(position)
        if applied and position is not None:
            positions.applied(position, 1)
            positions.complete(position, 1, learns=learns)

    give(at(1))
    assert is_written()
    for offset in range(2, 30, 3):
        give(at(offset))
    assert not is_written()
    give(None)
    assert is_written()
    give(None)
    assert not is_written()
    give(at(40))
    assert is_written()
    give(at(50, "clicks"))
    assert is_written()
    give(at(60, "clicks"), applied=False)
    assert not is_written()
    give(at(60, "clicks"))
    assert not is_written()
    give(at(70, "clicks"), applied=False)
    give(at(80, "clicks"))
    assert is_written()
    give(at(90, "clicks"), learns=True)
    assert is_written()
    for offset in range(100, 101 + CHECKPOINT_AFTER):
        give(at(offset, "clicks"))
    assert positions.unrecorded
