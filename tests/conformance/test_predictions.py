"""Predictions from the short-term memory and the learned patterns of a node."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import Pool, SessionClient, create_session, fresh_node

LEARNED = [["a"], ["b", "c"], ["d"], ["e"]]


@pytest.fixture
def trained(session: SessionClient) -> SessionClient:
    """A session whose node has learned one sequence."""
    for event in LEARNED:
        session.observe(*event)
    session.learn()
    return session


def predictions(session: SessionClient) -> list[dict[str, Any]]:
    """Return the predictions, best first."""
    response = session.get("/predictions").json()
    found: list[dict[str, Any]] = response["predictions"]
    assert response["count"] == len(found)
    return found


def test_past_present_and_future_are_events(trained: SessionClient) -> None:
    """They are the learned events before the first match, those up to the last match, the rest."""
    for string in ("c", "x", "d"):
        trained.observe(string)
    (prediction,) = predictions(trained)
    assert prediction["past"] == [["a"]]
    assert prediction["present"] == [["b", "c"], ["d"]]
    assert prediction["future"] == [["e"]]
    assert prediction["matches"] == ["c", "d"]
    assert prediction["missing"] == [["b"], []]
    assert prediction["extras"] == [[], ["x"], []]
    assert prediction["sequence"] == LEARNED


def test_future_potentials_are_distinct(trained: SessionClient) -> None:
    """`future_potentials` has each future once."""
    trained.observe("a")
    trained.observe("b", "c")
    (potential,) = trained.get("/predictions").json()["future_potentials"]
    assert potential["future"] == [["d"], ["e"]]
    assert (potential["aggregate_potential"], potential["supporting_patterns"]) == (1.0, 1)


def test_one_symbol_predicts_lists_of_symbols(trained: SessionClient) -> None:
    """With one symbol in memory, the regions are symbols, not events; there is no `sequence`."""
    trained.observe("a")
    (prediction,) = predictions(trained)
    assert (prediction["past"], prediction["present"]) == ([], ["a"])
    assert prediction["future"] == ["b", "c", "d", "e"]
    assert prediction["pattern_data"] == LEARNED
    assert "sequence" not in prediction


def test_one_symbol_predicts_beginnings_only(trained: SessionClient) -> None:
    """With one symbol in memory, only sequences that begin with it are found."""
    trained.observe("d")
    assert predictions(trained) == []


def test_no_predictions_without_known_symbols(trained: SessionClient) -> None:
    """There are no predictions from an empty memory or from unknown symbols."""
    assert predictions(trained) == []
    trained.observe("x", "y")
    assert predictions(trained) == []


def test_max_predictions_keeps_the_best(
    pool: Pool, http: httpx.Client, session: SessionClient, node_id: str
) -> None:
    """Predictions are ordered by potential, and there are at most `max_predictions`."""
    for sequence in ("abcd", "abxy", "aqrs"):
        for string in sequence:
            session.observe(string)
        session.learn()
    for string in "abc":
        session.observe(string)
    found = predictions(session)
    potentials = [prediction["potential"] for prediction in found]
    assert potentials == sorted(potentials, reverse=True)
    assert found[0]["future"] == [["d"]]
    assert session.post("/config", {"config": {"max_predictions": 1}}).status_code == 200
    assert [prediction["name"] for prediction in predictions(session)] == [found[0]["name"]]


def test_recall_threshold_excludes_dissimilar_patterns(trained: SessionClient) -> None:
    """Patterns with a similarity below `recall_threshold` are not predicted."""
    trained.observe("a")
    trained.observe("b", "c")
    assert len(predictions(trained)) == 1
    assert trained.post("/config", {"config": {"recall_threshold": 0.9}}).status_code == 200
    assert predictions(trained) == []


def test_predictions_of_the_last_observation_are_stored(trained: SessionClient) -> None:
    """`cognition-data` has the predictions of the last observation; an empty one has none."""
    trained.observe("a")
    trained.observe("b", "c")

    def stored() -> list[object]:
        data: list[object] = trained.get("/cognition-data").json()["cognition_data"]["predictions"]
        return data

    assert len(stored()) == 1
    trained.observe()
    assert stored() == []


def test_without_process_predictions_only_a_request_computes_them(trained: SessionClient) -> None:
    """With `process_predictions` off, `cognition-data` has no predictions, but they are there."""
    assert trained.post("/config", {"config": {"process_predictions": False}}).status_code == 200
    trained.observe("a")
    trained.observe("b", "c")
    assert trained.get("/cognition-data").json()["cognition_data"]["predictions"] == []
    (prediction,) = predictions(trained)
    assert prediction["future"] == [["d"], ["e"]]
    (potential,) = trained.get("/predictions").json()["future_potentials"]
    assert potential["future"] == prediction["future"]


def test_sessions_of_a_node_are_independent_without_process_predictions(
    pool: Pool, http: httpx.Client, trained: SessionClient
) -> None:
    """Six sessions of a node observe and predict at the same time; each keeps its own memory.

    With `process_predictions` on, this hangs the instances, so only the stand-in's tests try it.
    """
    off: dict[str, object] = {"process_predictions": False}

    def use(number: int) -> list[list[str]]:
        session = create_session(pool, http, trained.node_id, config=off)
        session = session.at(pool.urls[number % len(pool.urls)])
        expected: list[list[str]] = []
        for turn in range(8):
            event = ["a", f"s{number}-{turn}"]
            expected.append(event)
            assert session.observe(*event)["stm_length"] == len(expected)
            predictions(session)
        assert session.stm == expected
        return expected

    with ThreadPoolExecutor(6) as threads:
        memories = list(threads.map(use, range(6)))
    assert len({str(memory) for memory in memories}) == 6


FRUIT = [["apple"], ["banana", "cherry"], ["date"], ["elder"]]


def predictions_at(
    pool: Pool, http: httpx.Client, threshold: object, observed: list[list[str]]
) -> list[dict[str, Any]]:
    """Return the predictions of a session that learned FRUIT, with a `fuzzy_token_threshold`."""
    session = create_session(pool, http, fresh_node())
    for event in FRUIT:
        session.observe(*event)
    session.learn()
    settings = {"config": {"fuzzy_token_threshold": threshold}}
    assert session.post("/config", settings).status_code == 200
    for event in observed:
        session.observe(*event)
    return predictions(session)


@pytest.mark.parametrize("threshold", [0, -1, None, 1, 0.95])
def test_only_equal_symbols_match(pool: Pool, http: httpx.Client, threshold: object) -> None:
    """Without a threshold, or one that no symbol reaches, a similar symbol is an extra one."""
    observed = [["apple"], ["bannana", "cherry"]]
    (prediction,) = predictions_at(pool, http, threshold, observed)
    assert prediction["matches"] == ["apple", "cherry"]
    assert prediction["anomalies"] == []
    assert prediction["evidence"] == 2 / 5


def test_similar_symbols_are_anomalies_and_match(pool: Pool, http: httpx.Client) -> None:
    """A similar symbol matches, in the order observed, but stays among extras and missing."""
    observed = [["apple"], ["bannana", "cherry"]]
    (prediction,) = predictions_at(pool, http, 0.8, observed)
    assert prediction["matches"] == ["apple", "bannana", "cherry"]
    (anomaly,) = prediction["anomalies"]
    assert list(anomaly) == ["observed", "expected", "similarity"]
    assert (anomaly["observed"], anomaly["expected"]) == ("bannana", "banana")
    assert anomaly["similarity"] == pytest.approx(2 * 6 / (6 + 7))
    assert (prediction["missing"], prediction["extras"]) == ([[], ["banana"]], [[], ["bannana"]])
    assert (prediction["evidence"], prediction["confidence"]) == (3 / 5, 1.0)
    assert (prediction["similarity"], prediction["snr"]) == (0.5, 1.0)


def test_regions_are_those_of_equal_symbols(pool: Pool, http: httpx.Client) -> None:
    """`present` ends with the last equal symbol; it is empty if that is inside an event that does
    not contain the first match.
    """
    (prediction,) = predictions_at(pool, http, 0.8, [["apple"], ["eldr"]])
    assert (prediction["present"], prediction["future"]) == ([["apple"]], FRUIT[1:])
    assert prediction["matches"] == ["apple", "eldr"]
    (prediction,) = predictions_at(pool, http, 0.8, [["bannana"], ["cherry"], ["dte"]])
    assert (prediction["past"], prediction["present"]) == (FRUIT[:2], [])
    assert prediction["future"] == FRUIT[2:]
    assert prediction["confidence"] == 0.0


def test_a_pattern_without_an_equal_symbol_is_not_found(pool: Pool, http: httpx.Client) -> None:
    """Similar symbols alone do not find a pattern."""
    assert predictions_at(pool, http, 0.5, [["aple"], ["bannana"]]) == []


@pytest.mark.parametrize("threshold", [1.5, "0.8", "high", [1], {"a": 1}])
def test_with_an_unusable_threshold_nothing_is_found(
    pool: Pool, http: httpx.Client, threshold: object
) -> None:
    """`POST .../config` accepts any value; with these, matching fails unnoticed."""
    assert predictions_at(pool, http, threshold, [["apple"], ["cherry"]]) == []


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0.85, True), (1, True), (1.5, False), ("x", False)]
)
def test_at_creation_an_unusable_threshold_discards_the_configuration(
    pool: Pool, http: httpx.Client, node_id: str, threshold: object, kept: bool
) -> None:
    """`POST /sessions` ignores all of `config` if the threshold is not a number from 0 to 1."""
    config = {"fuzzy_token_threshold": threshold, "max_predictions": 7}
    body = {"node_id": node_id, "config": config}
    settings = http.post(f"{pool.urls[0]}/sessions", json=body).json()["session_config"]
    assert settings.get("fuzzy_token_threshold") == (threshold if kept else None)
    assert settings["max_predictions"] == (7 if kept else 100)
