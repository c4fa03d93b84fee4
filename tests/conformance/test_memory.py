"""Short-term memory of a session: its counter, its events, and the effects of learning."""

import httpx

from tests.conformance.conftest import Pool, SessionClient, create_session


def test_each_observation_increments_the_counter(session: SessionClient) -> None:
    """`time` rises with each observation, even an empty one; `stm_length` only with events."""
    responses = [session.observe(*strings) for strings in (["a"], [], ["b", "c"], [])]
    assert [(a["time"], a["stm_length"]) for a in responses] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_reading_keeps_the_counter(session: SessionClient) -> None:
    """Reads of any kind do not change the counter, and it can be read."""
    session.observe("a")
    for path in ("", "/stm", "/predictions", "/percept-data", "/cognition-data", "/config"):
        assert session.get(path).status_code == 200
    assert session.time == 1


def test_learning_keeps_the_counter(session: SessionClient) -> None:
    """After `learn` the memory is empty and the counter continues."""
    session.observe("a")
    session.observe("b")
    session.learn()
    assert (session.time, session.stm) == (2, [])
    assert session.observe("c")["time"] == 3


def test_clearing_resets_the_counter(session: SessionClient) -> None:
    """After `clear-stm` the memory is empty and the counter is 0."""
    session.observe("a")
    session.observe("b")
    assert session.post("/clear-stm").json() == {"status": "cleared", "session_id": session.id}
    assert (session.time, session.stm) == (0, [])
    assert session.observe("c")["time"] == 1


def test_strings_come_back_sorted(session: SessionClient) -> None:
    """The strings of an event are sorted for any `sort_symbols`; duplicates are kept."""
    session.observe("b", "a", "b")
    assert session.post("/config", {"config": {"sort_symbols": False}}).status_code == 200
    session.observe("d", "c")
    assert session.stm == [["a", "b", "b"], ["c", "d"]]


def test_learning_again_increases_the_frequency(session: SessionClient, http: httpx.Client) -> None:
    """Equal events have the same pattern name, and each `learn` increases the frequency."""
    names = set()
    for _ in range(3):
        session.observe("a")
        session.observe("b")
        names.add(session.learn())
    (name,) = names
    response = http.get(f"{session.url}/pattern/{name}", params={"node_id": session.node_id}).json()
    assert response["pattern"]["pattern"]["frequency"] == 3


def test_learning_an_empty_memory_is_a_400(session: SessionClient) -> None:
    """`learn` with an empty memory returns 400."""
    response = session.post("/learn")
    assert (response.status_code, response.json()) == (
        400,
        {"detail": "Cannot learn from empty STM"},
    )


def test_a_single_symbol_is_not_learned(session: SessionClient) -> None:
    """`learn` of one event with one string returns an empty name, and clears the memory."""
    session.observe("a")
    assert session.learn() == ""
    assert session.stm == []


def test_automatic_learning_in_clear_mode(pool: Pool, http: httpx.Client, node_id: str) -> None:
    """With `max_pattern_length` 2 and CLEAR, every second event completes a pattern."""
    config: dict[str, object] = {"max_pattern_length": 2, "stm_mode": "CLEAR"}
    session = create_session(pool, http, node_id, config=config)
    responses = [session.observe(string) for string in "abcd"]
    assert [a["stm_length"] for a in responses] == [1, 0, 1, 0]
    assert [a["auto_learned_pattern"] is None for a in responses] == [True, False, True, False]
    assert session.time == 4


def test_automatic_learning_in_rolling_mode(pool: Pool, http: httpx.Client, node_id: str) -> None:
    """With `max_pattern_length` 3 and ROLLING, two events are kept; an empty one learns nothing."""
    config: dict[str, object] = {"max_pattern_length": 3, "stm_mode": "ROLLING"}
    session = create_session(pool, http, node_id, config=config)
    learned = [session.observe(*strings)["auto_learned_pattern"] for strings in ("a", "b", "c", "")]
    assert [name is None for name in learned] == [True, True, False, True]
    assert session.stm == [["b"], ["c"]]
    assert session.time == 4


def test_automatic_learning_drops_a_single_symbol(
    pool: Pool, http: httpx.Client, node_id: str
) -> None:
    """With `max_pattern_length` 1 a single symbol is neither kept in memory nor learned."""
    session = create_session(pool, http, node_id, config={"max_pattern_length": 1})
    response = session.observe("a")
    assert (response["stm_length"], response["auto_learned_pattern"]) == (0, None)
    assert session.observe("b", "c")["auto_learned_pattern"] is not None


def test_emotives_are_averaged_and_kept_in_patterns(
    session: SessionClient, http: httpx.Client
) -> None:
    """A pattern has the last five emotives and all metadata; its symbols have the mean."""
    for n in range(6):
        body = {"strings": [f"s{n}"], "emotives": {"joy": float(n)}, "metadata": {"n": n % 2}}
        assert session.post("/observe", body).status_code == 200
    assert session.get("/percept-data").json()["percept_data"]["emotives"] == {"joy": 2.5}
    name = session.learn()
    node = {"node_id": session.node_id}
    pattern = http.get(f"{session.url}/pattern/{name}", params=node).json()["pattern"]["pattern"]
    assert pattern["emotives"] == [{"joy": float(n)} for n in range(1, 6)]
    assert pattern["metadata"] == {"n": ["0", "1"]}
    response = http.get(f"{session.url}/symbols/s0/affinity", params=node).json()
    assert response["affinity"] == {"joy": 2.5}
