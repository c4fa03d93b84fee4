"""Routes of health and status: always 200, and "healthy" even if the store is down."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from kato_consul.testing.kato.state import VERSION, Worker
from kato_consul.testing.kato.switches import STATUS_OF_ISSUE

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
    """Return the health, as switched. The store is not checked."""
    switches = kato.switches.now()
    issues = list(switches.issues) if switches.healthy else ["switched to unhealthy"]
    status = "healthy" if switches.healthy else "unhealthy"
    for issue, its_status in STATUS_OF_ISSUE.items():
        if issue in issues:
            status = its_status
    return {
        "status": status,
        "processor_status": "healthy",
        "service_name": kato.options.name,
        "uptime_seconds": kato.uptime,
        "issues": issues,
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
