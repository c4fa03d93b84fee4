"""Recorded exchanges, replayed in their order: each response is compared with the recorded one.

Status, content type, keys and types are always compared; values only if they do not depend on
time, chance or the machine. In `exchanges.json`, `{session_id}`, `{node}` and `{kb}` stand for the
names of a run, and `shape_only` marks responses that contain only measurements.
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
RESPONSES: dict[str, Any] = json.loads((HERE / "responses.json").read_text())

# Times and durations: only their type is compared.
VOLATILE = {"uptime_seconds", "created_at", "expires_at", "timestamp", "time_ms"}
# Measures of a prediction: KATO's arithmetic, which the stand-in does not share.
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
# Prefixes of ids that an instance creates: any other id of the same form is accepted.
GENERATED_IDS = ("session-", "obs-", "seq-obs-")
TTL_TOLERANCE = 1  # seconds by which a remaining TTL may differ
FREE_KEYS = {"labels"}  # objects whose keys are data


@pytest.fixture(scope="module")
def replayed(pool: Pool, http: httpx.Client) -> list[tuple[httpx.Response, dict[str, str]]]:
    """The response to each exchange, with the names of this run."""
    node = fresh_node()
    names = {"{node}": node, "{kb}": pool.kb(node), "{session_id}": "none yet"}
    special: dict[str, str] = {}
    responses = []
    for exchange in EXCHANGES:
        used = names
        if "session" in exchange:  # these have their own session, created before the first
            key = exchange["name"]
            if key not in special:
                body = {"node_id": node + key.replace("-", ""), **exchange["session"]}
                created = http.post(f"{pool.urls[0]}/sessions", json=body).json()
                special[key] = created["session_id"]
            other = node + key.replace("-", "")
            used = {"{node}": other, "{kb}": pool.kb(other), "{session_id}": special[key]}
        request = substitute(exchange["request"], used)
        response = http.request(
            request["method"],
            pool.urls[0] + request["path"],
            json=request.get("json"),
            content=request.get("body"),
            headers={"content-type": "application/json"},
        )
        if exchange["name"] == "create":
            names = {**names, "{session_id}": response.json()["session_id"]}
            used = names
        responses.append((response, used))
    return responses


@pytest.mark.parametrize(
    "index", range(len(EXCHANGES)), ids=[f"{i:02}-{e['name']}" for i, e in enumerate(EXCHANGES)]
)
def test_exchange(
    replayed: list[tuple[httpx.Response, dict[str, str]]], pool: Pool, index: int
) -> None:
    """A response has the recorded status, content type, keys, types and comparable values."""
    exchange = EXCHANGES[index]
    response, names = replayed[index]
    expected = exchange["response"]
    assert response.status_code == expected["status"], response.text
    assert response.headers["content-type"] == expected["content_type"]
    nullable = nullable_keys(exchange["request"]) if response.status_code == 200 else set()
    wanted = substitute(expected["json"], names)
    if exchange.get("shape_only"):
        same_shape(wanted, response.json(), nullable=nullable)
    else:
        same(wanted, response.json(), nullable=nullable, names=set(names.values()))


def test_all_recorded_endpoints_exist(pool: Pool, http: httpx.Client) -> None:
    """The instance's OpenAPI description has all endpoints of the recorded one."""
    paths = http.get(f"{pool.urls[0]}/openapi.json").json()["paths"]
    endpoints = {f"{m.upper()} {path}" for path, methods in paths.items() for m in methods}
    assert set(RESPONSES) <= endpoints


def substitute(value: Any, names: dict[str, str]) -> Any:
    """Return `value` with the names of this run."""
    text = json.dumps(value)
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return json.loads(text)


def nullable_keys(request: dict[str, Any]) -> set[str]:
    """Return the keys of a response that may be null by KATO's OpenAPI description."""
    segments = request["path"].split("?")[0].split("/")
    for endpoint, description in RESPONSES.items():
        method, _, path = endpoint.partition(" ")
        template = path.split("/")
        if method != request["method"] or len(template) != len(segments):
            continue
        pairs = zip(template, segments, strict=True)
        if all(a == b or a.startswith("{") for a, b in pairs):
            return set(description["nullable"])
    raise AssertionError(f"no such endpoint: {request}")


def same(wanted: Any, got: Any, *, nullable: set[str], names: set[str], where: str = "") -> None:
    """Assert the same keys, types and comparable values."""
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
    elif isinstance(wanted, str) and wanted.startswith(GENERATED_IDS) and wanted not in names:
        assert same_id_form(wanted, got), where
    elif key == "message" and str(wanted).startswith("Computed "):
        assert str(got).split(" in ")[0] == wanted.split(" in ")[0], where
    elif key == "ttl_seconds":
        assert abs(wanted - got) <= TTL_TOLERANCE, where
    elif isinstance(wanted, float):
        same_type(wanted, got, where)
        assert math.isclose(wanted, got, rel_tol=1e-9), (where, wanted, got)
    else:
        assert wanted == got, (where, wanted, got)


def same_shape(wanted: Any, got: Any, *, nullable: set[str], where: str = "") -> None:
    """Assert the same keys and types; in lists, only those of the first elements."""
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
    """Assert the same JSON type; an integer may stand for a float."""
    allowed = (int, float) if isinstance(wanted, float) else type(wanted)
    assert isinstance(got, allowed), (where, wanted, got)
    assert isinstance(got, bool) == isinstance(wanted, bool), (where, wanted, got)


def same_id_form(wanted: str, got: str) -> bool:
    """Return whether two ids have the same words, and parts of the same lengths."""

    def form(identity: str) -> list[object]:
        return [part if len(part) < 8 else len(part) for part in identity.split("-")]

    return form(wanted) == form(got)
