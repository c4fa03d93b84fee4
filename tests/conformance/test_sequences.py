"""`observe-sequence`: many observations in one call, saved once, at the end."""

from tests.conformance.conftest import SessionClient


def test_a_sequence_equals_single_observations(session: SessionClient) -> None:
    """Each item increments the counter, and the memory is the same as after single calls."""
    session.observe("a")
    items = [{"strings": ["c", "b"]}, {"strings": []}, {"strings": ["d"]}]
    response = session.post("/observe-sequence", {"observations": items}).json()
    assert [r["time"] for r in response["results"]] == [2, 3, 4]
    assert [r["stm_length"] for r in response["results"]] == [2, 2, 3]
    assert [r["sequence_position"] for r in response["results"]] == [0, 1, 2]
    assert session.stm == [["a"], ["b", "c"], ["d"]]
    assert session.time == 4


def test_unique_id_is_returned_or_created(session: SessionClient) -> None:
    """The caller's `unique_id` is returned; without one, one is created."""
    items = [{"strings": ["a"], "unique_id": "mine"}, {"strings": ["b"]}]
    response = session.post("/observe-sequence", {"observations": items}).json()
    ids = [r["unique_id"] for r in response["results"]]
    assert ids[0] == "mine"
    assert ids[1].startswith("seq-obs-")


def test_unique_id_is_no_idempotency_key(session: SessionClient) -> None:
    """The same call with the same ids is applied again."""
    body = {"observations": [{"strings": ["a"], "unique_id": "mine"}]}
    for _ in range(2):
        assert session.post("/observe-sequence", body).status_code == 200
    assert session.stm == [["a"], ["a"]]


def test_learn_after_each(session: SessionClient) -> None:
    """With `learn_after_each` no events are left, and a single symbol has an empty name."""
    items = [{"strings": ["a", "b"]}, {"strings": ["c"]}, {"strings": []}]
    body = {"observations": items, "learn_after_each": True}
    response = session.post("/observe-sequence", body).json()
    first, second = response["auto_learned_patterns"]
    assert first.startswith("PTRN|")
    assert second == ""
    assert response["final_stm_length"] == 0
    assert session.time == 3


def test_clear_stm_between(session: SessionClient) -> None:
    """With `clear_stm_between` only the last event is left, and the counter continues."""
    session.observe("z")
    items = [{"strings": ["a"]}, {"strings": ["b"]}]
    body = {"observations": items, "clear_stm_between": True}
    response = session.post("/observe-sequence", body).json()
    assert response["isolated"] is True
    assert [r["stm_length"] for r in response["results"]] == [2, 1]
    assert session.stm == [["b"]]
    assert session.time == 3


def test_an_invalid_item_refuses_the_whole_sequence(session: SessionClient) -> None:
    """If one item is invalid, none is applied."""
    items = [{"strings": ["a"]}, {"strings": "b"}]
    response = session.post("/observe-sequence", {"observations": items})
    assert response.status_code == 422
    assert session.time == 0
