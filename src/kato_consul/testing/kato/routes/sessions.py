"""Sessions: create, look at, configure, prolong, end.

The 404 texts differ from call to call, as the real ones do. Between reading a session and writing
it back lies `work`: the time in which another writer's change is lost.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from kato_consul.testing.kato import config, memory
from kato_consul.testing.kato.memory import Session
from kato_consul.testing.kato.state import State, Worker

router = APIRouter(prefix="/sessions", tags=["sessions"])

Answer = dict[str, Any]


class CreateSessionRequest(BaseModel):
    """The body of `POST /sessions`."""

    node_id: str
    metadata: dict[str, Any] | None = Field(default_factory=dict)
    ttl_seconds: int | None = None
    config: dict[str, Any] | None = None


async def found(kato: State, session_id: str, detail: str = "not found or expired") -> Session:
    """Return the session, or raise the endpoint's own 404."""
    session = await kato.sessions.get(session_id)
    if session is None:
        raise HTTPException(404, f"Session {session_id} {detail}")
    return session


async def work(kato: State) -> None:
    """Take the time that a call takes, with the switch `slow` on top."""
    await asyncio.sleep(kato.options.work + kato.switches.now().slow)


async def dawdle(kato: State) -> None:
    """Take the time that a call takes which only reads: none, unless the instance is slow."""
    if slow := kato.switches.now().slow:
        await asyncio.sleep(slow)


@router.get("/test/{test_id}")
async def test_endpoint(test_id: str) -> Answer:
    """Answer, if ever: the session "test" would have to exist."""
    return {"test_id": test_id, "message": "endpoint works"}


@router.post("")
async def create_session(kato: Worker, body: CreateSessionRequest) -> Answer:
    """Create a session. Bad values in `config` are ignored in silence."""
    session = await kato.sessions.create(body.node_id, body.ttl_seconds, body.metadata, body.config)
    return shown(session, session.ttl_seconds)


@router.get("/count")
async def count_sessions(kato: Worker) -> Answer:
    """Tell how many sessions there are, and the same again for a while."""

    async def look() -> Answer:
        return {"active_session_count": await kato.sessions.count()}

    return await kato.repeated.get("/sessions/count", look)


@router.get("/{session_id}/exists")
async def session_exists(kato: Worker, session_id: str) -> Answer:
    """Tell whether a session lives, without prolonging it. 500 when the store is lost."""
    look = await kato.sessions.look(session_id)
    return {"exists": look == "alive", "expired": look == "expired", "session_id": session_id}


@router.get("/{session_id}")
async def get_session(kato: Worker, session_id: str) -> Answer:
    """Show a session."""
    session = await found(kato, session_id)
    await dawdle(kato)
    left = int(session.expires_at - datetime.now(UTC).timestamp())
    return shown(session, max(0, left))


@router.delete("/{session_id}")
async def delete_session(kato: Worker, session_id: str) -> Answer:
    """End a session."""
    if not await kato.sessions.delete(session_id):
        raise HTTPException(404, f"Session {session_id} not found")
    return {"status": "deleted", "session_id": session_id}


@router.get("/{session_id}/config")
async def get_config(kato: Worker, session_id: str) -> Answer:
    """Show the settings that count for a session."""
    session = await found(kato, session_id)
    await dawdle(kato)
    return {"session_id": session_id, "config": config.effective(session.config)}


@router.post("/{session_id}/config")
async def set_config(kato: Worker, session_id: str, body: dict[str, Any]) -> Answer:
    """Change settings, all of them or, with a complaint, none. No lock."""
    session = await found(kato, session_id, "not found")
    wanted = body.get("config", body)
    if errors := config.complaints(wanted):
        detail = {"error": "Configuration validation failed", "validation_errors": errors}
        raise HTTPException(400, detail)
    session.config = config.updated(session.config, wanted)
    await work(kato)
    await kato.sessions.save(session)
    return {"status": "okay", "message": "Configuration updated", "session_id": session_id}


@router.post("/{session_id}/extend")
async def extend_session(kato: Worker, session_id: str, ttl_seconds: int = 3600) -> Answer:
    """Let a session live longer, or shorter."""
    if not await kato.sessions.extend(session_id, ttl_seconds):
        raise HTTPException(404, f"Session {session_id} not found")
    return {"status": "extended", "session_id": session_id, "ttl_seconds": ttl_seconds}


@router.post("/{session_id}/clear-stm")
async def clear_stm(kato: Worker, session_id: str) -> Answer:
    """Empty the memory and set its counter to 0. No lock."""
    await _cleared(kato, session_id)
    return {"status": "cleared", "session_id": session_id}


@router.post("/{session_id}/clear-all")
async def clear_all(kato: Worker, session_id: str) -> Answer:
    """Forget the memory, and all that the node ever learned. No lock."""
    session = await found(kato, session_id, "not found")
    knowledge = await kato.store.knowledge()  # a full store lets go of things
    knowledge.forget(kato.processor.kb(session.node_id))
    await _cleared(kato, session_id)
    return {"status": "cleared", "session_id": session_id, "scope": "all"}


async def _cleared(kato: State, session_id: str) -> None:
    session = await found(kato, session_id, "not found")
    memory.clear(session)
    await work(kato)
    if not await kato.sessions.save(session):
        raise HTTPException(404, f"Session {session_id} not found")


def shown(session: Session, ttl_seconds: int) -> Answer:
    """Return a session as callers see it."""
    return {
        "session_id": session.session_id,
        "node_id": session.node_id,
        "created_at": zulu(session.created_at),
        "expires_at": zulu(session.expires_at),
        "ttl_seconds": ttl_seconds,
        "metadata": session.metadata,
        "session_config": config.effective(session.config),
    }


def zulu(moment: float) -> str:
    """Return a moment, in seconds since 1970, as sessions show it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
