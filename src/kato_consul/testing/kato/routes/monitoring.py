"""Routes of monitoring: names and types of KATO's metrics; few values have a meaning here."""

import time
from typing import Any

from fastapi import APIRouter, HTTPException

from kato_consul.testing.kato.routes.health import now
from kato_consul.testing.kato.state import State, Worker

router = APIRouter(tags=["monitoring"])

JsonObject = dict[str, Any]

SERIES = (
    "kato_cpu_usage_percent",
    "kato_memory_usage_percent",
    "kato_memory_usage_bytes",
    "kato_disk_usage_percent",
    "load_average_1m",
    "kato_requests_total",
    "kato_request_duration_seconds",
    "kato_errors_total",
    "sessions_created",
    "sessions_deleted",
    "session_operations",
    *(
        f"{store}_{figure}"
        for store in ("clickhouse", "qdrant", "redis")
        for figure in ("operations", "response_time", "errors")
    ),
)


def summary(kato: State, active: float) -> JsonObject:
    """Return the metrics that /metrics and /stats have in common."""
    load = kato.load
    idle = {"operations": 0.0, "errors": 0.0, "avg_response_time": 0.0}
    return {
        "sessions": {
            "total_created": 0.0,
            "total_deleted": 0.0,
            "active": active,
            "operations_total": 0.0,
        },
        "performance": {
            "total_requests": float(load.total),
            "total_errors": 0.0,
            "error_rate": 0.0,
            "average_response_time": load.seconds / max(1, load.total),
        },
        "resources": {"cpu_percent": 0.0, "memory_percent": 0.0, "disk_percent": 0.0},
        "databases": {store: dict(idle) for store in ("clickhouse", "qdrant", "redis")},
    }


def series(kato: State, name: str, within: float) -> list[JsonObject]:
    """Return the points of one series in the last ``within`` seconds: one for each of the last
    requests that the worker has answered; none in the other series."""
    if name not in ("kato_requests_total", "kato_request_duration_seconds"):
        return []
    first = kato.load.total - len(kato.load.last) + 1
    return [
        {
            "timestamp": one.ended,
            "value": float(number) if name == "kato_requests_total" else one.seconds,
            "labels": {"method": one.method, "path": one.path},
        }
        for number, one in enumerate(kato.load.last, first)
        if one.ended > time.time() - within
    ]


@router.get("/metrics")
async def metrics(kato: Worker) -> JsonObject:
    """Return all metrics, cached for a while."""
    return await kato.response_cache.get("/metrics", lambda: metrics_body(kato))


async def metrics_body(kato: State) -> JsonObject:
    """Return a new response body for /metrics."""
    per_second = kato.load.total / max(1.0, kato.uptime)
    return {
        "timestamp": time.time(),
        **summary(kato, await kato.sessions.count()),
        "rates": {
            "requests_per_second": per_second,
            "requests_per_minute": per_second * 60,
            "errors_per_minute": 0,
        },
        "processor_manager": kato.processor.processors(),
        "uptime_seconds": None,
        "active_sessions": None,
        "error": None,
    }


@router.get("/stats")
async def stats(kato: Worker, minutes: int = 10) -> JsonObject:
    """Return the metrics of the last `minutes`."""
    return {
        "time_range_minutes": minutes,
        "timestamp": time.time(),
        "processor_manager": kato.processor.processors(),
        "current_status": {
            "status": "healthy",
            "issues": [],
            "metrics": {"cpu_percent": 0.0, "memory_percent": 0.0, "error_rate_per_min": 0.0},
            "timestamp": now(),
        },
        "time_series": {name: series(kato, name, minutes * 60) for name in SERIES},
        "summary": summary(kato, 0.0),
        "error": None,
    }


@router.get("/metrics/{metric_name}")
async def metric(kato: Worker, metric_name: str, minutes: int = 10) -> JsonObject:
    """Return one series; 404 if it has no points."""
    points = series(kato, metric_name, minutes)  # seconds: a bug of KATO 3.10.1
    if not points:
        detail = f"No data available for metric '{metric_name}' in the last {minutes} minutes"
        raise HTTPException(404, detail)
    values = [point["value"] for point in points]
    return {
        "metric_name": metric_name,
        "time_range_minutes": minutes,
        "timestamp": time.time(),
        "statistics": {
            "count": len(values),
            "min": min(values),
            "max": max(values),
            "avg": sum(values) / len(values),
        },
        "data_points": points,
    }


@router.get("/concurrency")
async def concurrency(kato: Worker) -> JsonObject:
    """Return the number of requests in flight, and its limit."""
    load, limit = kato.load, kato.options.limit_concurrency
    utilization = load.now * 100 // limit
    return {
        "status": "critical"
        if utilization >= 95
        else "warning"
        if utilization >= 80
        else "healthy",
        "current": {"concurrent_requests": load.now, "utilization_percent": utilization},
        "peak": {
            "concurrent_requests": load.peak,
            "utilization_percent": load.peak * 100 // limit,
        },
        "limits": {
            "per_worker": limit,
            "warning_threshold": limit * 80 // 100,
            "critical_threshold": limit * 95 // 100,
            "total_capacity": limit,
        },
        "configuration": {
            "workers": 1,  # for any number of workers: KATO only reads UVICORN_WORKERS
            "backlog": 2048,
            "max_requests": "unlimited",
        },
        "recommendations": [{"level": "info", "message": f"Peak {load.peak}/{limit}."}],
        "timestamp": now(),
    }


@router.get("/cache/stats")
async def cache_stats() -> JsonObject:
    """Return the metrics of a cache that was never used."""
    figures = {
        "hit_rate_percent": 0,
        "cache_hits": 0,
        "cache_misses": 0,
        "patterns_in_cache": 0,
        "symbols_in_cache": 0,
        "patterns_cached_total": 0,
        "symbols_cached_total": 0,
        "redis_memory_used_mb": 0.0,
        "uptime_seconds": 0.0,
        "requests_per_second": 0.0,
    }
    return {
        "cache_performance": figures,
        "cache_health": {"status": "healthy", "redis_connected": True, "cache_stats": figures},
        "timestamp": now(),
    }


@router.post("/cache/invalidate")
async def invalidate_cache(session_id: str | None = None) -> JsonObject:
    """Invalidate a cache that was never used."""
    return {
        "status": "success",
        "patterns_invalidated": 0,
        "symbols_invalidated": 0,
        "session_id": session_id,
        "reason": None,
        "timestamp": now(),
    }


@router.get("/distributed-stm/stats")
async def distributed_stm(kato: Worker) -> JsonObject:
    """Return the metrics of a stream that does not exist."""
    processors = kato.processor.processors()
    sample = {}
    if processors["processors"]:
        sample["sample_processor_id"] = processors["processors"][0]["processor_id"]
    figures = {
        "events_published": 0,
        "events_consumed": 0,
        "cache_hits": 0,
        "cache_misses": 0,
        "sync_operations": 0,
        "cache_hit_rate": 0.0,
        "stream_length": 0,
        "consumer_groups": 1,
    }
    return {
        "status": "active" if sample else "disabled",
        "distributed_stm_enabled": bool(sample),
        "performance_stats": figures if sample else None,
        "processor_info": {
            **sample,
            "total_active_processors": processors["total_processors"],
        },
        "expected_improvements": dict.fromkeys(
            (
                "stm_coordination_overhead_reduction",
                "distributed_state_consistency",
                "horizontal_scaling_support",
            ),
            "none",
        )
        if sample
        else None,
        "reason": None if sample else "No processors with distributed STM available",
        "error": None,
        "timestamp": now(),
    }


@router.get("/connection-pools")
async def connection_pools() -> JsonObject:
    """Return connection pools that do not exist."""
    health = {
        "healthy": True,
        "last_check": time.time(),
        "error_count": 0,
        "last_error": None,
        "response_time_ms": 0.0,
    }
    common: JsonObject = {"connection_reuse": True, "health_monitoring": True, "features": []}
    return {
        "status": "healthy",
        "health": {store: dict(health) for store in ("redis", "qdrant", "clickhouse")},
        "pool_statistics": {
            store: {"type": store, "status": "connected"} for store in ("redis", "clickhouse")
        },
        "connection_optimization": {
            "clickhouse": {"pool_size_optimized": True, **common},
            "redis": {"pool_size_optimized": True, **common},
            "qdrant": {"grpc_optimized": True, **common},
        },
        "performance_improvements": dict.fromkeys(
            (
                "expected_connection_overhead_reduction",
                "expected_concurrent_performance_improvement",
                "expected_memory_efficiency_improvement",
            ),
            "none",
        ),
        "error": None,
        "timestamp": now(),
    }
