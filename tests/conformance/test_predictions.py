"""What a memory predicts from what its node learned."""

from typing import Any

import httpx
import pytest

from tests.conformance.conftest import Pool, Talk

LEARNED = [["a"], ["b", "c"], ["d"], ["e"]]


@pytest.fixture
def taught(talk: Talk) -> Talk:
    """A session whose node learned one sequence."""
    for event in LEARNED:
        talk.observe(*event)
    talk.learn()
    return talk


def predictions(talk: Talk) -> list[dict[str, Any]]:
    """What is predicted, best first."""
    answer = talk.get("/predictions").json()
    found: list[dict[str, Any]] = answer["predictions"]
    assert answer["count"] == len(found)
    return found


def test_past_present_and_future_are_events(taught: Talk) -> None:
    """The learned events before the first match, those up to the last one, and the rest."""
    for string in ("c", "x", "d"):
        taught.observe(string)
    (prediction,) = predictions(taught)
    assert prediction["past"] == [["a"]]
    assert prediction["present"] == [["b", "c"], ["d"]]
    assert prediction["future"] == [["e"]]
    assert prediction["matches"] == ["c", "d"]
    assert prediction["missing"] == [["b"], []]
    assert prediction["extras"] == [[], ["x"], []]
    assert prediction["sequence"] == LEARNED


def test_futures_are_summed_up(taught: Talk) -> None:
    """`future_potentials` has each future once."""
    taught.observe("a")
    taught.observe("b", "c")
    (potential,) = taught.get("/predictions").json()["future_potentials"]
    assert potential["future"] == [["d"], ["e"]]
    assert (potential["aggregate_potential"], potential["supporting_patterns"]) == (1.0, 1)


def test_one_symbol_predicts_flat(taught: Talk) -> None:
    """With one symbol in memory the regions are symbols, not events; there is no `sequence`."""
    taught.observe("a")
    (prediction,) = predictions(taught)
    assert (prediction["past"], prediction["present"]) == ([], ["a"])
    assert prediction["future"] == ["b", "c", "d", "e"]
    assert prediction["pattern_data"] == LEARNED
    assert "sequence" not in prediction


def test_one_symbol_predicts_beginnings_only(taught: Talk) -> None:
    """With one symbol in memory only sequences are found that begin with it."""
    taught.observe("d")
    assert predictions(taught) == []


def test_nothing_predicts_nothing(taught: Talk) -> None:
    """An empty memory predicts nothing, and neither do unknown symbols."""
    assert predictions(taught) == []
    taught.observe("x", "y")
    assert predictions(taught) == []


def test_best_first_and_no_more_than_wanted(
    pool: Pool, http: httpx.Client, talk: Talk, node_id: str
) -> None:
    """Predictions are ordered by potential, as many as `max_predictions` says."""
    for sequence in ("abcd", "abxy", "aqrs"):
        for string in sequence:
            talk.observe(string)
        talk.learn()
    for string in "abc":
        talk.observe(string)
    found = predictions(talk)
    potentials = [prediction["potential"] for prediction in found]
    assert potentials == sorted(potentials, reverse=True)
    assert found[0]["future"] == [["d"]]
    assert talk.post("/config", {"config": {"max_predictions": 1}}).status_code == 200
    assert [prediction["name"] for prediction in predictions(talk)] == [found[0]["name"]]


def test_the_threshold(taught: Talk) -> None:
    """What resembles the memory less than `recall_threshold` is not predicted."""
    taught.observe("a")
    taught.observe("b", "c")
    assert len(predictions(taught)) == 1
    assert taught.post("/config", {"config": {"recall_threshold": 0.9}}).status_code == 200
    assert predictions(taught) == []


def test_the_last_observation_remembers_its_predictions(taught: Talk) -> None:
    """`cognition-data` has what the last observation predicted; an empty one predicts nothing."""
    taught.observe("a")
    taught.observe("b", "c")

    def remembered() -> list[object]:
        data: list[object] = taught.get("/cognition-data").json()["cognition_data"]["predictions"]
        return data

    assert len(remembered()) == 1
    taught.observe()
    assert remembered() == []
