"""KATO's answers about an instance or a node, as typed dicts (version 3.10.1).

As with sessions, an answer is KATO's JSON object itself, with whatever a newer one adds.
"""

from typing import Any, TypedDict


class RootResult(TypedDict):
    """``GET /``."""

    service: str
    version: str
    status: str
    uptime_seconds: float
    session_support: bool


class HealthResult(TypedDict):
    """``GET /health``. It says ``healthy`` while the store is away."""

    status: str
    processor_status: str
    service_name: str
    uptime_seconds: float
    issues: list[str]
    active_sessions: int
    timestamp: str


class StatusResult(TypedDict):
    """``GET /status``. ``base_processor_id`` is the SERVICE_NAME: it names the knowledge base."""

    status: str
    base_processor_id: str
    version: str
    uptime_seconds: float
    sessions: dict[str, Any]
    processors: dict[str, Any]


class MetricsResult(TypedDict, total=False):
    """``GET /metrics``."""

    timestamp: float
    sessions: dict[str, Any] | None
    performance: dict[str, Any] | None
    resources: dict[str, Any] | None
    databases: dict[str, Any] | None
    rates: dict[str, Any] | None


class MetricHistoryResult(TypedDict):
    """``GET /metrics/<name>``."""

    metric_name: str
    time_range_minutes: int
    timestamp: float
    statistics: dict[str, float]
    data_points: list[dict[str, Any]]


class StatsResult(TypedDict, total=False):
    """``GET /stats``."""

    time_range_minutes: int
    timestamp: float
    current_status: dict[str, Any] | None
    time_series: dict[str, Any] | None
    summary: dict[str, Any] | None


class CacheStatsResult(TypedDict):
    """``GET /cache/stats``."""

    cache_performance: dict[str, Any]
    cache_health: dict[str, Any]
    timestamp: str


class CacheInvalidateResult(TypedDict, total=False):
    """``POST /cache/invalidate``."""

    status: str
    patterns_invalidated: int | None
    symbols_invalidated: int | None
    session_id: str | None
    timestamp: str


class ConcurrencyResult(TypedDict):
    """``GET /concurrency``."""

    status: str
    current: dict[str, Any]
    peak: dict[str, Any]
    limits: dict[str, Any]
    configuration: dict[str, Any]
    recommendations: list[dict[str, str]]
    timestamp: str


class ConnectionPoolsResult(TypedDict, total=False):
    """``GET /connection-pools``."""

    status: str
    health: dict[str, Any] | None
    pool_statistics: dict[str, Any] | None
    timestamp: str


class DistributedStmResult(TypedDict, total=False):
    """``GET /distributed-stm/stats``."""

    status: str
    distributed_stm_enabled: bool | None
    performance_stats: dict[str, Any] | None
    timestamp: str


class SessionCountResult(TypedDict):
    """``GET /sessions/count``."""

    active_session_count: int


class EchoResult(TypedDict):
    """``GET /sessions/test/<id>``: KATO's own test of its routes."""

    test_id: str
    message: str


class PatternResult(TypedDict):
    """A learned pattern. ``pattern_data`` is a list of events."""

    name: str
    pattern_data: list[list[str]]
    length: int
    frequency: int
    emotives: list[dict[str, float]]
    metadata: dict[str, list[Any]]


class SymbolsResult(TypedDict):
    """``GET /symbols/stats``: by symbol, how often it was learned."""

    symbols: dict[str, dict[str, Any]]
    node_id: str


class AffinitiesResult(TypedDict):
    """``GET /symbols/affinity``: by symbol, its mean emotives."""

    affinities: dict[str, dict[str, float]]
    node_id: str


class AffinityResult(TypedDict):
    """``GET /symbols/<symbol>/affinity``."""

    symbol: str
    affinity: dict[str, float]
    node_id: str


class NodePerceptResult(TypedDict):
    """``GET /percept-data``, which KATO calls deprecated: see the session's own."""

    percept_data: dict[str, Any]
    node_id: str
    warning: str


class NodeCognitionResult(TypedDict):
    """``GET /cognition-data``, which KATO calls deprecated: see the session's own."""

    cognition_data: dict[str, Any]
    node_id: str
    warning: str
