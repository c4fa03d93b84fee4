"""How an instance says it is. Always 200; green while its store is gone."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from kato_consul.testing.kato.state import VERSION, Worker

router = APIRouter(tags=["health"])

Answer = dict[str, Any]


@router.get("/")
async def root(kato: Worker) -> Answer:
    """Introduce the service."""
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
async def health(kato: Worker) -> Answer:
    """Say "healthy", or "unhealthy" when the switch says so. It does not look at the store."""
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
async def status(kato: Worker) -> Answer:
    """Say which service this is, in which version. It does not need the store."""
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
    """Return the time as these endpoints write it."""
    return datetime.now(UTC).isoformat()
