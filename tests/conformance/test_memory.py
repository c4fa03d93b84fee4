"""One session's memory: its counter, its events, and what learning does to them."""

import httpx

from tests.conformance.conftest import Pool, Talk, opened


def test_each_observation_ticks(talk: Talk) -> None:
    """`time` rises with each observation, an empty one too; `stm_length` only with events."""
    answers = [talk.observe(*strings) for strings in (["a"], [], ["b", "c"], [])]
    assert [(a["time"], a["stm_length"]) for a in answers] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_reading_does_not_tick(talk: Talk) -> None:
    """Reads of any kind leave the counter alone, and it can be read."""
    talk.observe("a")
    for what in ("", "/stm", "/predictions", "/percept-data", "/cognition-data", "/config"):
        assert talk.get(what).status_code == 200
    assert talk.time == 1


def test_learning_keeps_the_counter(talk: Talk) -> None:
    """After `learn` the memory is empty and the counter goes on."""
    talk.observe("a")
    talk.observe("b")
    talk.learn()
    assert (talk.time, talk.stm) == (2, [])
    assert talk.observe("c")["time"] == 3


def test_clearing_resets_the_counter(talk: Talk) -> None:
    """After `clear-stm` the memory is empty and the counter is 0."""
    talk.observe("a")
    talk.observe("b")
    assert talk.post("/clear-stm").json() == {"status": "cleared", "session_id": talk.id}
    assert (talk.time, talk.stm) == (0, [])
    assert talk.observe("c")["time"] == 1


def test_strings_come_back_sorted(talk: Talk) -> None:
    """The strings of an event are sorted, whatever `sort_symbols` says; equal ones are kept."""
    talk.observe("b", "a", "b")
    assert talk.post("/config", {"config": {"sort_symbols": False}}).status_code == 200
    talk.observe("d", "c")
    assert talk.stm == [["a", "b", "b"], ["c", "d"]]


def test_learning_again_counts(talk: Talk, http: httpx.Client) -> None:
    """The same events have the same name everywhere, and each `learn` raises the frequency."""
    names = set()
    for _ in range(3):
        talk.observe("a")
        talk.observe("b")
        names.add(talk.learn())
    (name,) = names
    answer = http.get(f"{talk.url}/pattern/{name}", params={"node_id": talk.node_id}).json()
    assert answer["pattern"]["pattern"]["frequency"] == 3


def test_nothing_to_learn(talk: Talk) -> None:
    """An empty memory cannot be learned: 400."""
    answer = talk.post("/learn")
    assert (answer.status_code, answer.json()) == (400, {"detail": "Cannot learn from empty STM"})


def test_a_lone_symbol_is_not_learned(talk: Talk) -> None:
    """One event of one string is answered with an empty name, and gone all the same."""
    talk.observe("a")
    assert talk.learn() == ""
    assert talk.stm == []


def test_learns_by_itself_and_clears(pool: Pool, http: httpx.Client, node_id: str) -> None:
    """With `max_pattern_length` 2 and CLEAR each second event ends a pattern."""
    config: dict[str, object] = {"max_pattern_length": 2, "stm_mode": "CLEAR"}
    talk = opened(pool, http, node_id, config=config)
    answers = [talk.observe(string) for string in "abcd"]
    assert [a["stm_length"] for a in answers] == [1, 0, 1, 0]
    assert [a["auto_learned_pattern"] is None for a in answers] == [True, False, True, False]
    assert talk.time == 4


def test_learns_by_itself_and_rolls(pool: Pool, http: httpx.Client, node_id: str) -> None:
    """With `max_pattern_length` 3 and ROLLING two events stay; an empty one learns nothing."""
    config: dict[str, object] = {"max_pattern_length": 3, "stm_mode": "ROLLING"}
    talk = opened(pool, http, node_id, config=config)
    learned = [talk.observe(*strings)["auto_learned_pattern"] for strings in ("a", "b", "c", "")]
    assert [name is None for name in learned] == [True, True, False, True]
    assert talk.stm == [["b"], ["c"]]
    assert talk.time == 4


def test_learns_a_lone_symbol_by_itself(pool: Pool, http: httpx.Client, node_id: str) -> None:
    """With `max_pattern_length` 1 a lone symbol vanishes: not in memory, not learned."""
    talk = opened(pool, http, node_id, config={"max_pattern_length": 1})
    answer = talk.observe("a")
    assert (answer["stm_length"], answer["auto_learned_pattern"]) == (0, None)
    assert talk.observe("b", "c")["auto_learned_pattern"] is not None


def test_emotives_are_averaged_and_kept_with_what_is_learned(
    talk: Talk, http: httpx.Client
) -> None:
    """A pattern has the last five emotives and all metadata; its symbols have the mean."""
    for n in range(6):
        body = {"strings": [f"s{n}"], "emotives": {"joy": float(n)}, "metadata": {"n": n % 2}}
        assert talk.post("/observe", body).status_code == 200
    assert talk.get("/percept-data").json()["percept_data"]["emotives"] == {"joy": 2.5}
    name = talk.learn()
    node = {"node_id": talk.node_id}
    pattern = http.get(f"{talk.url}/pattern/{name}", params=node).json()["pattern"]["pattern"]
    assert pattern["emotives"] == [{"joy": float(n)} for n in range(1, 6)]
    assert pattern["metadata"] == {"n": ["0", "1"]}
    answer = http.get(f"{talk.url}/symbols/s0/affinity", params=node).json()
    assert answer["affinity"] == {"joy": 2.5}
