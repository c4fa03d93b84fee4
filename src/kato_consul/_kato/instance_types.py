"""KATO's responses about an instance or a node as typed dicts, as KATO 3.10.1 returns them.

As for sessions, a response is KATO's JSON object itself: fields that a newer KATO adds are in it
too. ``timestamp`` is ISO 8601 where it is a string, and seconds since 1970 where it is a number.
"""

from typing import Any, TypedDict


class RootResult(TypedDict):
    """``GET /``: name and version of the service."""

    service: str
    version: str
    status: str
    uptime_seconds: float
    session_support: bool


class HealthResult(TypedDict):
    """``GET /health``. KATO reports ``healthy`` even while its store is down.

    ``status`` is ``healthy``, ``degraded`` (above 80 % CPU) or ``unhealthy`` (above 90 % memory);
    KATO serves requests in each of them.
    """

    status: str
    processor_status: str
    service_name: str
    uptime_seconds: float
    issues: list[str]
    active_sessions: int
    timestamp: str


class StatusResult(TypedDict):
    """``GET /status``. ``base_processor_id`` is the instance's SERVICE_NAME.

    Together with a session's ``node_id`` it names the knowledge base: instances with different
    SERVICE_NAMEs do not share what they learn.
    """

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
    """``GET /metrics/<name>``. ``statistics`` has ``count``, ``min``, ``max`` and ``avg``."""

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
    """``POST /cache/invalidate``. The counts are numbers of cache entries."""

    status: str
    patterns_invalidated: int | None
    symbols_invalidated: int | None
    session_id: str | None
    timestamp: str


class ConcurrencyResult(TypedDict):
    """``GET /concurrency``. ``limits["per_worker"]`` is 100 requests by default."""

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
    """``GET /sessions/test/<id>``: KATO's test route."""

    test_id: str
    message: str


class PatternResult(TypedDict):
    """A learned pattern."""

    name: str
    pattern_data: list[list[str]]
    """The pattern's events, oldest first."""
    length: int
    """Symbols in all events together."""
    frequency: int
    """How often the pattern was learned, at least 1."""
    emotives: list[dict[str, float]]
    """The emotives of the newest observations that it was learned with, as many as the session's
    ``persistence`` (1 to 100, by default 5)."""
    metadata: dict[str, list[Any]]


class SymbolsResult(TypedDict):
    """``GET /symbols/stats``. ``symbols`` maps each symbol to its frequencies.

    ``frequency`` is how often it was learned, ``pattern_member_frequency`` in how many patterns it
    is.
    """

    symbols: dict[str, dict[str, Any]]
    node_id: str


class AffinitiesResult(TypedDict):
    """``GET /symbols/affinity``. ``affinities`` maps each symbol to its affinities.

    An affinity is a running sum: each time KATO learns a pattern with the symbol, it adds the mean
    of each emotive.
    """

    affinities: dict[str, dict[str, float]]
    node_id: str


class AffinityResult(TypedDict):
    """``GET /symbols/<symbol>/affinity``: as in `AffinitiesResult`, for one symbol."""

    symbol: str
    affinity: dict[str, float]
    node_id: str


class NodePerceptResult(TypedDict):
    """``GET /percept-data``, which KATO has deprecated. Use the session's percept data."""

    percept_data: dict[str, Any]
    node_id: str
    warning: str


class NodeCognitionResult(TypedDict):
    """``GET /cognition-data``, which KATO has deprecated. Use the session's cognition data."""

    cognition_data: dict[str, Any]
    node_id: str
    warning: str
