"""Routes of learned knowledge. `node_id` in responses is the knowledge base: node, SERVICE_NAME."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request

from kato_consul.testing.kato.faulty_store import StoreError
from kato_consul.testing.kato.processor import PREFIX
from kato_consul.testing.kato.state import State, Worker

router = APIRouter(tags=["kato-ops"])

JsonObject = dict[str, Any]

DEPRECATED = "This endpoint is deprecated. Use /sessions/{{session_id}}/{} for session-aware data."


async def node_of(request: Request, node_id: str | None = None) -> str:
    """Return the node of a request: the parameter, else a header, else the default node."""
    if node_id is not None:
        return node_id
    if test_id := request.headers.get("x-test-id"):
        return test_id if test_id.startswith("test_") else f"test_{test_id}"
    return request.headers.get("x-node-id") or "default_node"


Node = Annotated[str, Depends(node_of)]


@router.get("/pattern/{pattern_id}")
async def get_pattern(kato: Worker, pattern_id: str, node: Node) -> JsonObject:
    """Return a pattern. The status is 200 even if there is none."""
    kb = kato.processor.kb(node)
    pattern = (await kato.store.patterns()).get(kb, pattern_id.removeprefix(PREFIX))
    if pattern is None:
        missing = {"status": "error", "message": f"Pattern {pattern_id} not found"}
        return {"pattern": missing, "node_id": kb}
    body = {
        "name": f"{PREFIX}{pattern.name}",
        "pattern_data": pattern.events,
        "length": sum(len(event) for event in pattern.events),
        "frequency": pattern.frequency,
        "emotives": pattern.emotives,
        "metadata": pattern.metadata,
    }
    return {"pattern": {"status": "okay", "pattern": body}, "node_id": kb}


@router.get("/symbols/affinity")
async def symbol_affinities(kato: Worker, node: Node) -> JsonObject:
    """Return for each symbol the sums of the emotives it was learned with."""
    kb = kato.processor.kb(node)
    return {"affinities": await affinities(kato, kb), "node_id": kb}


@router.get("/symbols/stats")
async def symbol_stats(kato: Worker, node: Node) -> JsonObject:
    """Return how often each symbol was learned."""
    kb = kato.processor.kb(node)
    try:
        symbols = (await kato.store.knowledge()).symbols(kb)
    except StoreError as error:
        raise HTTPException(500, f"Symbol stats retrieval failed: {error}") from error
    stats = {
        name: {"name": name, "frequency": frequency, "pattern_member_frequency": members}
        for name, (frequency, members) in symbols.items()
    }
    return {"symbols": stats, "node_id": kb}


@router.get("/symbols/{symbol}/affinity")
async def symbol_affinity(kato: Worker, symbol: str, node: Node) -> JsonObject:
    """Return the sums of the emotives that one symbol was learned with."""
    kb = kato.processor.kb(node)
    by_symbol = await affinities(kato, kb)
    return {"symbol": symbol, "affinity": by_symbol.get(symbol, {}), "node_id": kb}


async def affinities(kato: State, kb: str) -> dict[str, dict[str, float]]:
    """Return the affinities in a knowledge base; none if the store is down."""
    try:
        return (await kato.store.knowledge()).affinities(kb)
    except StoreError:
        return {}


@router.get("/percept-data", deprecated=True)
async def percept_data(kato: Worker, node: Node) -> JsonObject:
    """Return nothing: the data is per session, under /sessions/{session_id}."""
    warning = DEPRECATED.format("percept-data")
    return {"percept_data": {}, "node_id": kato.processor.kb(node), "warning": warning}


@router.get("/cognition-data", deprecated=True)
async def cognition_data(kato: Worker, node: Node) -> JsonObject:
    """Return nothing: the data is per session, under /sessions/{session_id}."""
    empty: JsonObject = {
        "predictions": [],
        "emotives": {},
        "symbols": [],
        "command": "",
        "metadata": {},
        "path": [],
        "strings": [],
        "vectors": [],
        "short_term_memory": [],
    }
    warning = DEPRECATED.format("cognition-data")
    return {"cognition_data": empty, "node_id": kato.processor.kb(node), "warning": warning}
