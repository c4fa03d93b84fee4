"""Metrics of an instance, and how old their values may be."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.conformance.conftest import Pool


def get_json(http: httpx.Client, pool: Pool, path: str) -> dict[str, Any]:
    """Return the response body of the first instance."""
    body: dict[str, Any] = http.get(f"{pool.urls[0]}{path}").raise_for_status().json()
    return body


def is_cached(read: Callable[[], object]) -> bool:
    """Return whether responses repeat. The cache may expire after the first, but not again."""
    first, second, third = (read() for _ in range(3))
    return first == second or second == third


def test_metrics_are_cached(pool: Pool, http: httpx.Client) -> None:
    """/metrics returns the same values for a while, including their timestamp."""
    assert is_cached(lambda: get_json(http, pool, "/metrics"))


def test_stats_are_not_cached(pool: Pool, http: httpx.Client) -> None:
    """The total of /stats is current: it includes the previous request."""

    def total() -> float:
        summary = get_json(http, pool, "/stats?minutes=0")["summary"]
        return float(summary["performance"]["total_requests"])

    first, second = total(), total()
    assert second >= first + 1


def test_stats_list_each_request(pool: Pool, http: httpx.Client) -> None:
    """/stats lists the last requests of its process: method, path, and when each ended by the clock
    of the response."""
    get_json(http, pool, "/status")
    stats = get_json(http, pool, "/stats?minutes=1")
    points = stats["time_series"]["kato_requests_total"]
    listed = [point for point in points if point["labels"] == {"method": "GET", "path": "/status"}]
    assert 0 <= stats["timestamp"] - listed[-1]["timestamp"] < 60
    assert stats["summary"]["performance"]["total_requests"] == points[-1]["value"]


def test_last_collection_is_the_start_time(pool: Pool, http: httpx.Client) -> None:
    """`last_collection` of /health is the time of the process's start and does not change."""
    first = get_json(http, pool, "/health")
    later = get_json(http, pool, "/health")
    assert first["last_collection"] == later["last_collection"]
    assert first["uptime_seconds"] < later["uptime_seconds"]


def test_concurrency_reports_one_worker(pool: Pool, http: httpx.Client) -> None:
    """/concurrency reports one worker for any number (unless UVICORN_WORKERS is set)."""
    assert get_json(http, pool, "/concurrency")["configuration"]["workers"] == 1
