"""Routes of sessions: create, read, configure, extend and delete.

The texts of 404s differ between endpoints, as in the real KATO. `State.work` takes time between
reading a session and writing it back; another writer's change in that time is lost.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from kato_consul.testing.kato import config, memory
from kato_consul.testing.kato.memory import StoredSession
from kato_consul.testing.kato.state import State, Worker

router = APIRouter(prefix="/sessions", tags=["sessions"])

JsonObject = dict[str, Any]


class CreateSessionRequest(BaseModel):
    """The body of `POST /sessions`."""

    node_id: str
    metadata: dict[str, Any] | None = Field(default_factory=dict)
    ttl_seconds: int | None = None
    config: dict[str, Any] | None = None


async def require_session(
    kato: State, session_id: str, detail: str = "not found or expired"
) -> StoredSession:
    """Return the session, or raise the endpoint's 404."""
    session = await kato.sessions.get(session_id)
    if session is None:
        raise HTTPException(404, f"Session {session_id} {detail}")
    return session


async def simulate_slow_read(kato: State) -> None:
    """Wait for the switch `slow`; a call that only reads takes no other time."""
    if slow := kato.switches.now().slow:
        await asyncio.sleep(slow)


@router.get("/test/{test_id}")
async def test_endpoint(test_id: str) -> JsonObject:
    """Test endpoint of KATO; the middleware requires that a session "test" exists."""
    return {"test_id": test_id, "message": "endpoint works"}


@router.post("")
async def create_session(kato: Worker, body: CreateSessionRequest) -> JsonObject:
    """Create a session. If a value in `config` is invalid, all of it is silently ignored."""
    session = await kato.sessions.create(body.node_id, body.ttl_seconds, body.metadata, body.config)
    created = {
        "session_id": session.session_id,
        "node_id": session.node_id,
        "created_at": datetime.fromtimestamp(session.created_at, UTC).isoformat(),
    }
    await kato.events.send("session.created", created)
    return session_json(session, session.ttl_seconds)


@router.get("/count")
async def count_sessions(kato: Worker) -> JsonObject:
    """Return the number of sessions, cached for a while."""

    async def compute() -> JsonObject:
        return {"active_session_count": await kato.sessions.count()}

    return await kato.response_cache.get("/sessions/count", compute)


@router.get("/{session_id}/exists")
async def session_exists(kato: Worker, session_id: str) -> JsonObject:
    """Return whether a session exists, without renewing it. 500 if the store fails."""
    status = await kato.sessions.status(session_id)
    return {"exists": status == "alive", "expired": status == "expired", "session_id": session_id}


@router.get("/{session_id}")
async def get_session(kato: Worker, session_id: str) -> JsonObject:
    """Return a session."""
    session = await require_session(kato, session_id)
    await simulate_slow_read(kato)
    left = int(session.expires_at - datetime.now(UTC).timestamp())
    return session_json(session, max(0, left))


@router.delete("/{session_id}")
async def delete_session(kato: Worker, session_id: str) -> JsonObject:
    """Delete a session."""
    if not await kato.sessions.delete(session_id):
        raise HTTPException(404, f"Session {session_id} not found")
    destroyed = {
        "session_id": session_id,
        "destroyed_at": datetime.now(UTC).isoformat(),
        "reason": "explicit_delete",
    }
    await kato.events.send("session.destroyed", destroyed)
    return {"status": "deleted", "session_id": session_id}


@router.get("/{session_id}/config")
async def get_config(kato: Worker, session_id: str) -> JsonObject:
    """Return the effective settings of a session."""
    session = await require_session(kato, session_id)
    await simulate_slow_read(kato)
    return {"session_id": session_id, "config": config.effective(session.config)}


@router.post("/{session_id}/config")
async def set_config(kato: Worker, session_id: str, body: dict[str, Any]) -> JsonObject:
    """Change all given settings, or none if one is invalid. Takes no lock."""
    session = await require_session(kato, session_id, "not found")
    requested = body.get("config", body)
    if errors := config.validation_errors(requested):
        detail = {"error": "Configuration validation failed", "validation_errors": errors}
        raise HTTPException(400, detail)
    session.config = config.updated(session.config, requested)
    await kato.work()
    await kato.sessions.save(session)
    return {"status": "okay", "message": "Configuration updated", "session_id": session_id}


@router.post("/{session_id}/extend")
async def extend_session(kato: Worker, session_id: str, ttl_seconds: int = 3600) -> JsonObject:
    """Set a session's time to live."""
    if not await kato.sessions.extend(session_id, ttl_seconds):
        raise HTTPException(404, f"Session {session_id} not found")
    return {"status": "extended", "session_id": session_id, "ttl_seconds": ttl_seconds}


@router.post("/{session_id}/clear-stm")
async def clear_stm(kato: Worker, session_id: str) -> JsonObject:
    """Clear the memory and set its counter to 0. Takes no lock."""
    await _clear(kato, session_id)
    return {"status": "cleared", "session_id": session_id}


@router.post("/{session_id}/clear-all")
async def clear_all(kato: Worker, session_id: str) -> JsonObject:
    """Clear the memory and delete all that the node has learned. Takes no lock."""
    session = await require_session(kato, session_id, "not found")
    await kato.processor.clear_all(session)
    await _clear(kato, session_id)
    return {"status": "cleared", "session_id": session_id, "scope": "all"}


async def _clear(kato: State, session_id: str) -> None:
    session = await require_session(kato, session_id, "not found")
    memory.clear(session)
    await kato.work()
    if not await kato.sessions.save(session):
        raise HTTPException(404, f"Session {session_id} not found")


def session_json(session: StoredSession, ttl_seconds: int) -> JsonObject:
    """Return the JSON of a session."""
    return {
        "session_id": session.session_id,
        "node_id": session.node_id,
        "created_at": iso_utc(session.created_at),
        "expires_at": iso_utc(session.expires_at),
        "ttl_seconds": ttl_seconds,
        "metadata": session.metadata,
        "session_config": config.effective(session.config),
    }


def iso_utc(timestamp: float) -> str:
    """Return a time in seconds since 1970 in the format of a session's JSON."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
