"""What sessions are for: observe, learn, predict, and read the memory.

A session is read, worked on and written back whole, under a lock of this process alone. `learn`
reads before it has the lock. Both are the real one's manners, and lose observations.
"""

import time
import uuid
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from kato_consul.testing.kato import memory
from kato_consul.testing.kato.memory import Observation
from kato_consul.testing.kato.routes.sessions import Answer, dawdle, found, work
from kato_consul.testing.kato.state import Worker

router = APIRouter(prefix="/sessions/{session_id}", tags=["sessions"])


class ObservationData(BaseModel):
    """The body of `observe`."""

    strings: list[str] = Field(default_factory=list)
    vectors: list[list[float]] = Field(default_factory=list)
    emotives: dict[str, float] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)

    def seen(self) -> Observation:
        """Return it as the memory takes it."""
        return Observation(self.strings, self.vectors, self.emotives, self.metadata)


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
async def observe(kato: Worker, session_id: str, body: ObservationData) -> Answer:
    """Take one observation. 200 even when the store refused to keep it."""
    async with kato.sessions.lock(session_id):
        session = await found(kato, session_id)
        await work(kato)
        learned = await kato.processor.observe(session, body.seen())
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
) -> Answer:
    """Take many observations and save once, at the end: all of them or none."""
    async with kato.sessions.lock(session_id):
        session = await found(kato, session_id)
        at_start = len(session.stm)
        results: list[Answer] = []
        learned: list[str] = []
        at_end = None
        if body.observations:
            await work(kato)
        for position, item in enumerate(body.observations):
            if body.clear_stm_between and position > 0:
                session.stm = []
            by_itself = await kato.processor.observe(session, item.seen())
            if body.learn_after_each and session.stm:
                learned.append(await kato.processor.learn(session))
            if by_itself:
                learned.append(by_itself)
            results.append(
                {
                    "status": "okay",
                    "sequence_position": position,
                    "stm_length": len(session.stm),
                    "time": session.time,
                    "unique_id": item.unique_id or f"seq-obs-{uuid.uuid4().hex}",
                    "auto_learned_pattern": by_itself,
                }
            )
        if body.observations:
            if body.learn_at_end and session.stm:
                at_end = await kato.processor.learn(session)
                learned.append(at_end)
            await kato.sessions.save(session)
    return {
        "status": "completed",
        "processor_id": session.node_id,
        "observations_processed": len(results),
        "initial_stm_length": at_start,
        "final_stm_length": len(session.stm),
        "results": results,
        "auto_learned_patterns": learned,
        "final_learned_pattern": at_end,
        "isolated": body.clear_stm_between,
    }


@router.post("/learn")
async def learn(kato: Worker, session_id: str) -> Answer:
    """Learn the memory's events and empty it. Not harmless when repeated: the frequency rises."""
    session = await found(kato, session_id)
    if not session.stm:
        raise HTTPException(400, "Cannot learn from empty STM")
    async with kato.sessions.lock(session_id):
        await work(kato)
        name = await kato.processor.learn(session)
        await kato.sessions.save(session)
    return {
        "status": "learned",
        "pattern_name": name,
        "session_id": session_id,
        "processor_id": None,
        # The number is the real one's: counted after the memory was emptied.
        "message": f"Learned pattern {name} from {len(session.stm)} events",
    }


@router.post("/finalize-training")
async def finalize_training(kato: Worker, session_id: str) -> Answer:
    """Compute what depends on all patterns: nothing here."""
    started = time.perf_counter()
    session = await found(kato, session_id)
    knowledge = await kato.store.knowledge()
    count = len(knowledge.patterns(kato.processor.kb(session.node_id)))
    took = round((time.perf_counter() - started) * 1000, 2)
    return {
        "status": "completed",
        "patterns_processed": count,
        "time_ms": took,
        "session_id": session_id,
        "node_id": session.node_id,
        "message": f"Computed Shannon entropy and TF vectors for {count} patterns in {took}ms",
    }


@router.get("/predictions")
async def predictions(kato: Worker, session_id: str) -> Answer:
    """Tell what the memory predicts."""
    session = await found(kato, session_id)
    async with kato.sessions.lock(session_id):
        await dawdle(kato)
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
async def stm(kato: Worker, session_id: str) -> Answer:
    """Show the events in memory."""
    session = await found(kato, session_id)
    await dawdle(kato)
    return {"stm": session.stm, "session_id": session_id, "length": len(session.stm)}


@router.get("/percept-data")
async def percept_data(kato: Worker, session_id: str) -> Answer:
    """Show the last observation."""
    session = await found(kato, session_id)
    await dawdle(kato)
    return {
        "percept_data": session.percept,
        "session_id": session_id,
        "node_id": session.node_id,
    }


@router.get("/cognition-data")
async def cognition_data(kato: Worker, session_id: str) -> Answer:
    """Show the memory, its counter, and what was predicted at the last observation."""
    session = await found(kato, session_id)
    await dawdle(kato)
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
