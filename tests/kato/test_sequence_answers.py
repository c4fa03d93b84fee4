"""The answer to a sequence whose response is lost: it is the one that KATO gave."""

from typing import Any

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from kato_consul._kato.execute import execute_write
from kato_consul._kato.journal import MAX_STM_EVENTS, AutoLearn, Journal
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Observation, SequenceResult
from kato_consul._kato.write import ReadBack
from tests.fuzzing import EXAMPLES, SEED
from tests.kato.model_kato import ModelKato, playing

OBSERVATIONS = st.lists(
    st.sampled_from([{"strings": ["a", "b"]}, {"strings": ["c"]}, {"emotives": {"joy": 1.0}}]),
    max_size=8,
)
CONFIGS = st.fixed_dictionaries(
    {
        "max_pattern_length": st.sampled_from([0, 2, 3, 4]),  # one symbol alone makes no pattern
        "stm_mode": st.sampled_from(["CLEAR", "ROLLING"]),
    }
)


def comparable(answer: SequenceResult) -> SequenceResult:
    """Return an answer without what the model of KATO lacks or adds."""
    shown = ("sequence_position", "stm_length", "time", "auto_learned_pattern")
    return {**answer, "results": [{name: one[name] for name in shown} for one in answer["results"]]}


@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    before=OBSERVATIONS,
    observations=OBSERVATIONS.filter(bool),
    config=CONFIGS,
    learn_after_each=st.booleans(),
    clear_stm_between=st.booleans(),
)
def test_same_answer(
    before: list[Observation],
    observations: list[Observation],
    config: dict[str, object],
    learn_after_each: bool,
    clear_stm_between: bool,
) -> None:
    """Made from the counters and the names of the patterns, it is KATO's."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node")
    state.journal = Journal(config)

    def send(sequence: list[Observation], **flags: Any) -> SequenceResult:
        write = observe_sequence(sequence, **flags)
        answer: SequenceResult = player.play(
            execute_write(api, state, kato.clock.now + 90.0, write)
        )
        return answer

    send(before)
    start = state.journal
    flags: dict[str, Any] = {
        "learn_after_each": learn_after_each,
        "clear_stm_between": clear_stm_between,
    }
    answer = send(observations, **flags)
    assert start.auto_learn == AutoLearn(
        config["max_pattern_length"],  # type: ignore[arg-type]
        config["stm_mode"] == "ROLLING",
    )
    known = ReadBack(state.id or "", "node", start, state.journal, answer["auto_learned_patterns"])
    again = observe_sequence(observations, **flags).answer_read_back(known)
    assert comparable(again) == comparable(answer)


def test_more_events_than_kato_keeps() -> None:
    """KATO counts them before it drops the oldest: nothing has to be read back."""
    kato = ModelKato()
    player, api = playing(kato)
    state = SessionState("me", "node")
    observations: list[Observation] = [{"strings": [f"s{n}"]} for n in range(MAX_STM_EVENTS + 7)]
    player.play(
        execute_write(api, state, kato.clock.now + 90.0, observe_sequence(observations[:-5]))
    )
    sent = len(player.sent)
    write = observe_sequence(observations[-5:])
    answer = player.play(execute_write(api, state, kato.clock.now + 90.0, write))
    assert answer["final_stm_length"] == MAX_STM_EVENTS + 5
    assert len(player.sent) == sent + 1
    assert not state.store_loses
