"""The recorded exchanges, replayed in their order: each answer again, as far as it is a fact.

Always: status, content type, keys and types. Where time, chance or the machine have no part in
it: the values, too. In `exchanges.json`, `{session_id}`, `{node}` and `{kb}` stand for the names
of a run, and `shape_only` marks answers that are nothing but measurements.
"""

import json
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import Pool, fresh_node

HERE = Path(__file__).parent
EXCHANGES: list[dict[str, Any]] = json.loads((HERE / "exchanges.json").read_text())["exchanges"]
ANSWERS: dict[str, Any] = json.loads((HERE / "answers.json").read_text())

# Clocks, ids and durations: of these only the type is a fact.
VOLATILE = {"uptime_seconds", "created_at", "expires_at", "timestamp", "time_ms"}
# How good a prediction is: KATO's arithmetic, which a stand-in need not share.
MEASURES = {
    "potential",
    "evidence",
    "similarity",
    "snr",
    "confluence",
    "predictive_information",
    "confidence",
    "entropy",
    "normalized_entropy",
    "global_normalized_entropy",
    "itfdf_similarity",
    "tfidf_score",
    "pattern_probability",
    "weighted_strength",
    "bayesian_posterior",
    "bayesian_prior",
    "bayesian_likelihood",
    "aggregate_potential",
    "total_weighted_frequency",
}
# How an instance's own ids begin; in their place any other of the same form will do.
MADE_UP = ("session-", "obs-", "seq-obs-")
SLACK = 1  # seconds by which the rest of a TTL may differ
FREE_KEYS = {"labels"}  # objects whose keys are data


@pytest.fixture(scope="module")
def replayed(pool: Pool, http: httpx.Client) -> list[tuple[httpx.Response, dict[str, str]]]:
    """The answer to each exchange, with the names of this run."""
    node = fresh_node()
    names = {"{node}": node, "{kb}": pool.kb(node), "{session_id}": "none yet"}
    special: dict[str, str] = {}
    answers = []
    for exchange in EXCHANGES:
        used = names
        if "session" in exchange:  # these have a session of their own, made before the first
            key = exchange["name"]
            if key not in special:
                body = {"node_id": node + key.replace("-", ""), **exchange["session"]}
                made = http.post(f"{pool.urls[0]}/sessions", json=body).json()
                special[key] = made["session_id"]
            other = node + key.replace("-", "")
            used = {"{node}": other, "{kb}": pool.kb(other), "{session_id}": special[key]}
        request = filled(exchange["request"], used)
        answer = http.request(
            request["method"],
            pool.urls[0] + request["path"],
            json=request.get("json"),
            content=request.get("body"),
            headers={"content-type": "application/json"},
        )
        if exchange["name"] == "create":
            names = {**names, "{session_id}": answer.json()["session_id"]}
            used = names
        answers.append((answer, used))
    return answers


@pytest.mark.parametrize(
    "index", range(len(EXCHANGES)), ids=[f"{i:02}-{e['name']}" for i, e in enumerate(EXCHANGES)]
)
def test_exchange(
    replayed: list[tuple[httpx.Response, dict[str, str]]], pool: Pool, index: int
) -> None:
    """An answer has the recorded status, content type, keys, types and facts."""
    exchange = EXCHANGES[index]
    answer, names = replayed[index]
    expected = exchange["response"]
    assert answer.status_code == expected["status"], answer.text
    assert answer.headers["content-type"] == expected["content_type"]
    nullable = nullable_keys(exchange["request"]) if answer.status_code == 200 else set()
    wanted = filled(expected["json"], names)
    if exchange.get("shape_only"):
        same_shape(wanted, answer.json(), nullable=nullable)
    else:
        same(wanted, answer.json(), nullable=nullable, names=set(names.values()))


def test_every_path_is_there(pool: Pool, http: httpx.Client) -> None:
    """The instance's own description has every call of the recorded one."""
    described = http.get(f"{pool.urls[0]}/openapi.json").json()["paths"]
    calls = {f"{m.upper()} {path}" for path, methods in described.items() for m in methods}
    assert set(ANSWERS) <= calls


def filled(value: Any, names: dict[str, str]) -> Any:
    """`value` with the names of this run."""
    text = json.dumps(value)
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return json.loads(text)


def nullable_keys(request: dict[str, Any]) -> set[str]:
    """The keys of an answer which KATO's own description lets be null."""
    steps = request["path"].split("?")[0].split("/")
    for call, answer in ANSWERS.items():
        method, _, path = call.partition(" ")
        template = path.split("/")
        if method != request["method"] or len(template) != len(steps):
            continue
        pairs = zip(template, steps, strict=True)
        if all(a == b or a.startswith("{") for a, b in pairs):
            return set(answer["nullable"])
    raise AssertionError(f"no such call: {request}")


def same(wanted: Any, got: Any, *, nullable: set[str], names: set[str], where: str = "") -> None:
    """Assert the same keys, types and facts."""
    key = where.rpartition(".")[2]
    if wanted == got and type(wanted) is type(got):
        return
    if isinstance(wanted, dict):
        assert isinstance(got, dict), where
        assert wanted.keys() == got.keys(), where
        for name in wanted:
            if where == "" and name in nullable and (wanted[name] is None or got[name] is None):
                assert wanted[name] == got[name], name
                continue
            same(
                wanted[name],
                got[name],
                nullable=nullable,
                names=names,
                where=f"{where}.{name}",
            )
    elif isinstance(wanted, list):
        assert isinstance(got, list), where
        assert len(wanted) == len(got), (where, wanted, got)
        for one, other in zip(wanted, got, strict=True):
            same(one, other, nullable=nullable, names=names, where=where)
    elif key in VOLATILE or key in MEASURES:
        same_type(wanted, got, where)
    elif isinstance(wanted, str) and wanted.startswith(MADE_UP) and wanted not in names:
        assert alike_ids(wanted, got), where
    elif key == "message" and str(wanted).startswith("Computed "):
        assert str(got).split(" in ")[0] == wanted.split(" in ")[0], where
    elif key == "ttl_seconds":
        assert abs(wanted - got) <= SLACK, where
    elif isinstance(wanted, float):
        same_type(wanted, got, where)
        assert math.isclose(wanted, got, rel_tol=1e-9), (where, wanted, got)
    else:
        assert wanted == got, (where, wanted, got)


def same_shape(wanted: Any, got: Any, *, nullable: set[str], where: str = "") -> None:
    """Assert the same keys and types; of lists only what their first elements are like."""
    if where.rpartition(".")[2] in FREE_KEYS:
        assert isinstance(got, dict), where
    elif wanted is None or got is None:
        assert where.count(".") > 1 or where[1:] in nullable, where
    elif isinstance(wanted, dict):
        assert isinstance(got, dict), where
        assert wanted.keys() == got.keys(), where
        for name in wanted:
            same_shape(wanted[name], got[name], where=f"{where}.{name}", nullable=nullable)
    elif isinstance(wanted, list):
        assert isinstance(got, list), where
        for one, other in zip(wanted[:1], got[:1], strict=False):
            same_shape(one, other, where=where, nullable=nullable)
    else:
        same_type(wanted, got, where)


def same_type(wanted: Any, got: Any, where: str) -> None:
    """Assert the same JSON type; a number written without a fraction may stand for a float."""
    allowed = (int, float) if isinstance(wanted, float) else type(wanted)
    assert isinstance(got, allowed), (where, wanted, got)
    assert isinstance(got, bool) == isinstance(wanted, bool), (where, wanted, got)


def alike_ids(wanted: str, got: str) -> bool:
    """Whether two ids are made alike: the same words, and parts of the same lengths."""

    def form(identity: str) -> list[object]:
        return [part if len(part) < 8 else len(part) for part in identity.split("-")]

    return form(wanted) == form(got)
