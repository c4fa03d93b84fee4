"""What an instance tells of its own work, and how old that may be."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.conformance.conftest import Pool


def asked(http: httpx.Client, pool: Pool, path: str) -> dict[str, Any]:
    """What the first instance answers."""
    answer: dict[str, Any] = http.get(f"{pool.urls[0]}{path}").raise_for_status().json()
    return answer


def twice_the_same(look: Callable[[], object]) -> bool:
    """Whether an answer is repeated. One may be too old to be: of the next two, neither is."""
    seen = [look() for _ in range(3)]
    return seen[0] == seen[1] or seen[1] == seen[2]


def test_metrics_repeat_themselves(pool: Pool, http: httpx.Client) -> None:
    """/metrics gives the same figures again for a while, the time they were taken among them."""
    assert twice_the_same(lambda: asked(http, pool, "/metrics"))


def test_stats_count_each_request(pool: Pool, http: httpx.Client) -> None:
    """The total of /stats is of now: it has the look before in it."""

    def total() -> float:
        summary = asked(http, pool, "/stats?minutes=0")["summary"]
        return float(summary["performance"]["total_requests"])

    first, second = total(), total()
    assert second >= first + 1


def test_a_process_tells_when_it_started(pool: Pool, http: httpx.Client) -> None:
    """`last_collection` of /health is the moment of the start: it stays, whatever is collected."""
    first = asked(http, pool, "/health")
    later = asked(http, pool, "/health")
    assert first["last_collection"] == later["last_collection"]
    assert first["uptime_seconds"] < later["uptime_seconds"]


def test_workers_are_not_told(pool: Pool, http: httpx.Client) -> None:
    """/concurrency says one worker, whatever there are (unless UVICORN_WORKERS is set)."""
    assert asked(http, pool, "/concurrency")["configuration"]["workers"] == 1
