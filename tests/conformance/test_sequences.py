"""`observe-sequence`: many observations in one call, saved once, at the end."""

from tests.conformance.conftest import Talk


def test_a_sequence_is_its_observations(talk: Talk) -> None:
    """Each item ticks, and the memory is what single calls would have made it."""
    talk.observe("a")
    items = [{"strings": ["c", "b"]}, {"strings": []}, {"strings": ["d"]}]
    answer = talk.post("/observe-sequence", {"observations": items}).json()
    assert [r["time"] for r in answer["results"]] == [2, 3, 4]
    assert [r["stm_length"] for r in answer["results"]] == [2, 2, 3]
    assert [r["sequence_position"] for r in answer["results"]] == [0, 1, 2]
    assert talk.stm == [["a"], ["b", "c"], ["d"]]
    assert talk.time == 4


def test_own_ids_come_back(talk: Talk) -> None:
    """A `unique_id` is the caller's; without one it is made up."""
    items = [{"strings": ["a"], "unique_id": "mine"}, {"strings": ["b"]}]
    answer = talk.post("/observe-sequence", {"observations": items}).json()
    ids = [r["unique_id"] for r in answer["results"]]
    assert ids[0] == "mine"
    assert ids[1].startswith("seq-obs-")


def test_an_id_is_no_idempotency_key(talk: Talk) -> None:
    """The same call with the same ids is applied again."""
    body = {"observations": [{"strings": ["a"], "unique_id": "mine"}]}
    for _ in range(2):
        assert talk.post("/observe-sequence", body).status_code == 200
    assert talk.stm == [["a"], ["a"]]


def test_learning_after_each(talk: Talk) -> None:
    """With `learn_after_each` nothing stays, and a lone symbol has an empty name."""
    items = [{"strings": ["a", "b"]}, {"strings": ["c"]}, {"strings": []}]
    body = {"observations": items, "learn_after_each": True}
    answer = talk.post("/observe-sequence", body).json()
    first, second = answer["auto_learned_patterns"]
    assert first.startswith("PTRN|")
    assert second == ""
    assert answer["final_stm_length"] == 0
    assert talk.time == 3


def test_clearing_between(talk: Talk) -> None:
    """With `clear_stm_between` only the last event stays, and the counter goes on."""
    talk.observe("z")
    items = [{"strings": ["a"]}, {"strings": ["b"]}]
    body = {"observations": items, "clear_stm_between": True}
    answer = talk.post("/observe-sequence", body).json()
    assert answer["isolated"] is True
    assert [r["stm_length"] for r in answer["results"]] == [2, 1]
    assert talk.stm == [["b"]]
    assert talk.time == 3


def test_all_or_nothing(talk: Talk) -> None:
    """One bad item and none is taken."""
    items = [{"strings": ["a"]}, {"strings": "b"}]
    answer = talk.post("/observe-sequence", {"observations": items})
    assert answer.status_code == 422
    assert talk.time == 0
