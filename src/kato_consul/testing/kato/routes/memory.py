"""Routes of the short-term memory: observe, learn, predict, and read the memory.

A session is read, changed and written back whole, under a lock of this process only. `learn` reads
before it acquires the lock. Both are faults of the real KATO, and lose observations. Those of
sessions that share a node are in the processor.
"""

import time
import uuid
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from kato_consul.testing.kato import memory
from kato_consul.testing.kato.memory import ObservationInput
from kato_consul.testing.kato.routes.sessions import (
    JsonObject,
    require_session,
    simulate_slow_read,
)
from kato_consul.testing.kato.state import Worker

router = APIRouter(prefix="/sessions/{session_id}", tags=["sessions"])


class ObservationData(BaseModel):
    """The body of `observe`."""

    strings: list[str] = Field(default_factory=list)
    vectors: list[list[float]] = Field(default_factory=list)
    emotives: dict[str, float] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)

    def to_input(self) -> ObservationInput:
        """Return it as an `ObservationInput`."""
        return ObservationInput(self.strings, self.vectors, self.emotives, self.metadata)


class ObservationDataItem(ObservationData):
    """One observation of a sequence."""

    unique_id: str | None = None


class ObservationSequenceRequest(BaseModel):
    """The body of `observe-sequence`."""

    observations: list[ObservationDataItem]
    learn_after_each: bool = False
    learn_at_end: bool = False
    clear_stm_between: bool = False


@router.post("/observe")
async def observe(kato: Worker, session_id: str, body: ObservationData) -> JsonObject:
    """Add one observation. Returns 200 even if the store refused to save it."""
    async with kato.sessions.lock(session_id):
        session = await require_session(kato, session_id)
        await kato.work()
        learned = await kato.processor.observe(session, body.to_input())
        await kato.sessions.save(session)
    return {
        "status": "okay",
        "session_id": session_id,
        "processor_id": session.node_id,
        "stm_length": len(session.stm),
        "time": session.time,
        "unique_id": f"obs-{uuid.uuid4().hex}",
        "auto_learned_pattern": learned,
    }


@router.post("/observe-sequence")
async def observe_sequence(
    kato: Worker, session_id: str, body: ObservationSequenceRequest
) -> JsonObject:
    """Add many observations and save once, at the end: all of them or none."""
    async with kato.sessions.lock(session_id):
        session = await require_session(kato, session_id)
        at_start = len(session.stm)
        results: list[JsonObject] = []
        learned: list[str] = []
        at_end = None
        if body.observations:
            await kato.work()
        for position, item in enumerate(body.observations):
            if body.clear_stm_between and position > 0:
                session.stm = []
            auto_learned = await kato.processor.observe(session, item.to_input())
            if body.learn_after_each and session.stm:
                learned.append(await kato.processor.learn(session))
            if auto_learned:
                learned.append(auto_learned)
            results.append(
                {
                    "status": "okay",
                    "sequence_position": position,
                    "stm_length": len(session.stm),
                    "time": session.time,
                    "unique_id": item.unique_id or f"seq-obs-{uuid.uuid4().hex}",
                    "auto_learned_pattern": auto_learned,
                }
            )
        if body.observations and body.learn_at_end and session.stm:
            at_end = await kato.processor.learn(session)
            learned.append(at_end)
        at_the_end = len(session.stm)  # as KATO: before it drops the oldest events
        if body.observations:
            await kato.sessions.save(session)
    return {
        "status": "completed",
        "processor_id": session.node_id,
        "observations_processed": len(results),
        "initial_stm_length": at_start,
        "final_stm_length": at_the_end,
        "results": results,
        "auto_learned_patterns": learned,
        "final_learned_pattern": at_end,
        "isolated": body.clear_stm_between,
    }


@router.post("/learn")
async def learn(kato: Worker, session_id: str) -> JsonObject:
    """Learn the memory's events and clear them. Not idempotent: the frequency increases."""
    session = await require_session(kato, session_id)
    if not session.stm:
        raise HTTPException(400, "Cannot learn from empty STM")
    async with kato.sessions.lock(session_id):
        await kato.work()
        name = await kato.processor.learn(session)
        await kato.sessions.save(session)
    return {
        "status": "learned",
        "pattern_name": name,
        "session_id": session_id,
        "processor_id": None,
        # As in the real KATO, the events are counted after the memory was cleared.
        "message": f"Learned pattern {name} from {len(session.stm)} events",
    }


@router.post("/finalize-training")
async def finalize_training(kato: Worker, session_id: str) -> JsonObject:
    """KATO computes here what depends on all patterns; the stand-in computes nothing."""
    started = time.perf_counter()
    session = await require_session(kato, session_id)
    knowledge = await kato.store.knowledge()
    count = len(knowledge.patterns(kato.processor.kb(session.node_id)))
    millis = round((time.perf_counter() - started) * 1000, 2)
    return {
        "status": "completed",
        "patterns_processed": count,
        "time_ms": millis,
        "session_id": session_id,
        "node_id": session.node_id,
        "message": f"Computed Shannon entropy and TF vectors for {count} patterns in {millis}ms",
    }


@router.get("/predictions")
async def predictions(kato: Worker, session_id: str) -> JsonObject:
    """Return the predictions from the memory."""
    session = await require_session(kato, session_id)
    async with kato.sessions.lock(session_id):
        await simulate_slow_read(kato)
        predicted = await kato.processor.predict(session)
        futures = kato.processor.futures(session)
    return {
        "predictions": predicted,
        "future_potentials": futures,
        "session_id": session_id,
        "processor_id": None,
        "count": len(predicted),
        "time": None,
        "unique_id": None,
    }


@router.get("/stm")
async def stm(kato: Worker, session_id: str) -> JsonObject:
    """Return the events in memory."""
    session = await require_session(kato, session_id)
    await simulate_slow_read(kato)
    return {"stm": session.stm, "session_id": session_id, "length": len(session.stm)}


@router.get("/percept-data")
async def percept_data(kato: Worker, session_id: str) -> JsonObject:
    """Return the last observation."""
    session = await require_session(kato, session_id)
    await simulate_slow_read(kato)
    return {
        "percept_data": session.percept,
        "session_id": session_id,
        "node_id": session.node_id,
    }


@router.get("/cognition-data")
async def cognition_data(kato: Worker, session_id: str) -> JsonObject:
    """Return the memory, its counter, and the predictions at the last observation."""
    session = await require_session(kato, session_id)
    await simulate_slow_read(kato)
    cognition = {
        "predictions": session.predictions,
        "emotives": session.emotives[-1] if session.emotives else {},
        "symbols": memory.symbols(session.stm),
        "command": "",
        "metadata": {},
        "path": [],
        "strings": [],
        "vectors": [],
        "short_term_memory": session.stm,
        "time": session.time,
    }
    return {"cognition_data": cognition, "session_id": session_id, "node_id": session.node_id}
