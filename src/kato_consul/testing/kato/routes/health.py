"""Routes of health and status: always 200, and "healthy" even if the store is down."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from kato_consul.testing.kato.state import VERSION, Worker

router = APIRouter(tags=["health"])

JsonObject = dict[str, Any]


@router.get("/")
async def root(kato: Worker) -> JsonObject:
    """Return a description of the service."""
    return {
        "service": "KATO API",
        "version": VERSION,
        "description": "Knowledge Abstraction for Traceable Outcomes with Multi-User Support",
        "docs": "/docs",
        "health": "/health",
        "status": "running",
        "uptime_seconds": kato.uptime,
        "architecture": "modular",
        "session_support": True,
    }


@router.get("/health")
async def health(kato: Worker) -> JsonObject:
    """Return "healthy" or "unhealthy", as switched. The store is not checked."""
    healthy = kato.switches.now().healthy
    return {
        "status": "healthy" if healthy else "unhealthy",
        "processor_status": "healthy",
        "service_name": kato.options.name,
        "uptime_seconds": kato.uptime,
        "issues": [] if healthy else ["switched to unhealthy"],
        "metrics_collected": 19,
        "last_collection": kato.started,
        "active_sessions": await kato.sessions.count(),
        "timestamp": now(),
    }


@router.get("/status")
async def status(kato: Worker) -> JsonObject:
    """Return the service's name, version and processors. Works without the store."""
    return {
        "status": "healthy",
        "base_processor_id": kato.options.name,
        "uptime_seconds": kato.uptime,
        "sessions": {
            "total_sessions": kato.sessions.known,
            "active_sessions": kato.sessions.known,
            "expired_sessions": 0,
            "backend": "redis",
            "redis_url": f"sqlite://{kato.options.store}",
        },
        "processors": kato.processor.processors(),
        "version": VERSION,
    }


def now() -> str:
    """Return the current time in the format of these endpoints."""
    return datetime.now(UTC).isoformat()
