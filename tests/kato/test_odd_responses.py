"""Odd responses: whole HTTP answers that are not KATO's, to each call. Nothing raw is raised."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kato_consul._flow import Flow, Outcome, Reply, Send
from kato_consul._kato import queries, reads
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.sequence_chunks import observe_chunks
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.writes import clear_stm, learn, observe, set_config
from kato_consul.errors import KatoConsulError, NoResponse, OutcomeUnknown, ServerFailed
from tests.building import reply
from tests.fuzzing import EXAMPLES, SEED, json_bodies
from tests.kato.model_kato import ModelKato, playing

Call = Callable[[KatoApi, SessionState, float], Flow[Any]]

DEADLINE = 5.0

MODELLED = ("observe", "observe-sequence", "learn", "clear-stm")
"""The writes that the model can process."""


def _write(write: Callable[[], Any]) -> Call:
    return lambda api, state, deadline: execute_write(api, state, deadline, write())


def _sequence(api: KatoApi, state: SessionState, deadline: float) -> Flow[Any]:
    events: Any = [{"strings": [symbol]} for symbol in "xyz"]
    return observe_chunks(api, state, deadline, observations=events, chunk=2)


WRITES: dict[str, Call] = {
    "observe": _write(lambda: observe({"strings": ["x"]})),
    "observe-sequence": _sequence,
    "learn": _write(learn),
    "clear-stm": _write(clear_stm),
    "config": _write(lambda: set_config({"recall_threshold": 0.5})),
}
"""Writes by the last part of their path."""

READS: dict[str, Call] = {
    "stm": reads.stm,
    "predictions": reads.predictions,
    "percept-data": reads.percept_data,
    "cognition-data": reads.cognition_data,
    "config": reads.config,
    "session-1": reads.info,
    "exists": reads.exists,
    "finalize-training": reads.finalize_training,
}
"""Reads, and the calls that are safe to repeat."""

QUERIES: dict[str, Call] = {
    "health": lambda api, state, deadline: queries.query_any(api, queries.health(), deadline),
    "pattern": lambda api, state, deadline: queries.query_any(
        api, queries.pattern("n", "PTRN|1"), deadline
    ),
}

DEEP = b"[" * 100_000 + b"]" * 100_000

FOREIGN = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"<html>",
    b'{"a": NaN}',
    b'{"a": "\xff"}',
    b'{"a": "\\ud800"}',
    b'{"a": ' + DEEP + b"}",
    b'{"a": ' + b"9" * 5_000 + b"}",
]


class OddKato:
    """A KATO whose responses to one path are replaced. ``applies``: it processes the request."""

    def __init__(self, path: str, odd: Reply, *, applies: bool, times: int = 1_000) -> None:
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node")
        self.path, self.odd, self.times = path, odd, times
        self.applies = applies and path in MODELLED
        self.player.answer = self.answer
        self.armed = False

    def answer(self, send: Send) -> Outcome:
        """Return the odd response to the path, and the model's to any other."""
        path = send.target.split("?")[0]
        if not (self.armed and self.times and self.path in path.split("/")[-2:]):
            return self.kato.answer(send)
        self.times -= 1
        if self.applies:
            self.kato.answer(send)
        return self.odd

    def run(self, call: Call) -> Any:
        """Open the session, observe one event, and then run the call with odd responses."""
        self.player.play(_observe_a(self.api, self.state, DEADLINE + self.api.now()))
        self.armed = True
        return self.player.play(call(self.api, self.state, self.api.now() + DEADLINE))

    def error_of(self, call: Call) -> KatoConsulError | None:
        """Return the error of the tree that the call raises, if any."""
        try:
            self.run(call)
        except KatoConsulError as error:
            return error
        return None


_observe_a = WRITES["observe"]


@pytest.mark.parametrize("body", FOREIGN, ids=lambda body: body[:20].decode("latin-1"))
@pytest.mark.parametrize("path", READS)
def test_read_raises_server_failed(path: str, body: bytes) -> None:
    """A read whose response is not KATO's raises `ServerFailed`."""
    with pytest.raises(ServerFailed, match="not a KATO response"):
        OddKato(path, Reply(200, {}, body), applies=False).run(READS[path])


@pytest.mark.parametrize("applies", [False, True])
@pytest.mark.parametrize("body", FOREIGN, ids=lambda body: body[:20].decode("latin-1"))
@pytest.mark.parametrize("path", WRITES)
def test_write_is_settled_or_unknown(path: str, body: bytes, applies: bool) -> None:
    """A write whose response is not KATO's is settled by a read, or its outcome is unknown.

    If it never gets through, the error says that it was sent, and is not applied.
    """
    error = OddKato(path, Reply(200, {}, body), applies=applies).error_of(WRITES[path])
    if isinstance(error, NoResponse):
        assert not applies
    assert error is None or (isinstance(error, OutcomeUnknown | NoResponse) and error.sent)


COGNITION = [
    {"cognition_data": None},
    {"cognition_data": {}},
    {"cognition_data": {"time": None, "short_term_memory": []}},
    {"cognition_data": {"time": "1", "short_term_memory": []}},
    {"cognition_data": {"time": -1, "short_term_memory": []}},
    {"cognition_data": {"time": 1.5, "short_term_memory": []}},
    {"cognition_data": {"time": True, "short_term_memory": []}},
    {"cognition_data": {"time": 2, "short_term_memory": None}},
    {"cognition_data": {"time": 2, "short_term_memory": [1]}},
    {"cognition_data": {"time": 2, "short_term_memory": [["a", 1]]}},
]


@pytest.mark.parametrize("body", COGNITION)
def test_settling_read_with_wrong_types_leaves_the_outcome_unknown(body: dict[str, Any]) -> None:
    """If the read that settles a write has wrong types, the outcome stays unknown."""
    odd = OddKato("cognition-data", reply(200, body), applies=False)
    lost = Reply(200, {}, b"{")
    model = odd.answer

    def answer(send: Send) -> Outcome:
        if odd.armed and send.target.endswith("/observe"):
            odd.kato.answer(send)
            return lost
        return model(send)

    odd.player.answer = answer
    with pytest.raises(OutcomeUnknown, match="not a KATO response"):
        odd.run(WRITES["observe"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("stm", {"stm": None}),
        ("stm", {"stm": [1]}),
        ("stm", {"stm": [[None]]}),
        ("predictions", {"predictions": None}),
        ("predictions", {"predictions": [{"name": "x"}]}),
        ("predictions", {"predictions": [{"past": [1], "present": [], "future": []}]}),
        ("percept-data", {"percept_data": []}),
        ("cognition-data", {"cognition_data": {"time": "x"}}),
        ("config", {"config": [1]}),
        ("config", {"config": {"max_pattern_length": "x"}}),
        ("exists", {"exists": None}),
        ("exists", {"exists": "false"}),
        ("session-1", {"session_id": 1, "node_id": "n"}),
    ],
)
def test_read_with_wrong_types_raises_server_failed(path: str, body: dict[str, Any]) -> None:
    """A field of the wrong type is found when the response is decoded; the error names it."""
    with pytest.raises(ServerFailed, match=r"not a KATO response \("):
        OddKato(path, reply(200, body), applies=False).run(READS[path])


@pytest.mark.parametrize(
    "body",
    [
        {"session_id": None},
        {"session_id": ""},
        {"session_id": "a b"},
        {"session_id": "a\r\nb"},
        {"session_id": "../sessions"},
        {"session_id": "\u00e9"},
        {"session_id": "s", "session_config": [1]},
        {"session_id": "s", "session_config": {"max_pattern_length": "x"}},
        {"session_id": "s", "session_config": {"max_pattern_length": -1}},
    ],
)
def test_opening_with_wrong_types_raises_server_failed(body: dict[str, Any]) -> None:
    """A session is not opened with an id that is no part of a path, or an odd configuration."""
    odd = OddKato("sessions", reply(200, body), applies=False)
    odd.armed = True
    with pytest.raises(ServerFailed, match="opening the session"):
        odd.player.play(WRITES["observe"](odd.api, odd.state, odd.api.now() + DEADLINE))
    assert odd.state.id is None


@pytest.mark.parametrize(
    "body",
    [
        {"results": None, "final_stm_length": 1},
        {"results": [], "final_stm_length": 1},
        {"results": [None], "final_stm_length": 1},
        {"results": [{"time": 3}], "final_stm_length": "1"},
        {"results": [{"time": 3}], "final_stm_length": 3, "auto_learned_patterns": None},
    ],
)
def test_odd_results_of_a_sequence_are_settled(body: dict[str, Any]) -> None:
    """A sequence whose response lacks its results is read back, and its chunks are merged."""
    result = OddKato("observe-sequence", reply(200, body), applies=True, times=1).run(_sequence)
    assert result["observations_processed"] == 3
    assert [entry["sequence_position"] for entry in result["results"]] == [0, 1, 2]


def test_error_that_cannot_be_printed_has_its_text() -> None:
    """An error whose detail is nested almost too deeply to be decoded is an error of KATO's."""
    for depth in range(10, 1_200, 10):
        body = b'{"detail": ' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(KatoConsulError):
            OddKato("stm", Reply(422, {}, body), applies=False).run(READS["stm"])


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    call=st.sampled_from([*WRITES.items(), *READS.items(), *QUERIES.items()]),
    status=st.sampled_from([200, 201, 204, 302, 400, 404, 408, 413, 422, 429, 500, 503]),
    body=json_bodies(
        "status time stm_length results final_stm_length pattern_name stm exists config detail "
        "error code cognition_data short_term_memory predictions past present future pattern"
    ),
    applies=st.booleans(),
)
def test_any_response_gives_a_result_or_an_error_of_the_tree(
    call: tuple[str, Call], status: int, body: bytes, applies: bool
) -> None:
    """Whatever KATO answers to a call, it returns or raises an error of the tree."""
    path, run = call
    odd = OddKato(path, Reply(status, {}, body), applies=applies)
    error = odd.error_of(run)
    if error is not None and path in WRITES and status < 300:
        assert error.sent
