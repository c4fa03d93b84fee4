"""Instance activity: the requests of clients to an instance, as KATO itself lists them.

A worker process of KATO lists its last 1,000 requests in ``/stats``, each with its method, its
path and the time at which it ended, and counts those in progress in ``/concurrency`` (measured on
KATO 3.10.1; ``/metrics`` repeats its values for 5 s). So checks and probes are told from clients by
their paths, and one answer shows how long ago the last request ended, by KATO's own clock.

Each process has only its own numbers. A new connection is accepted by any of them, so connections
are opened until all processes that are known have answered. One that accepts no connection while
they are looked for is not asked, so they are looked for more than once (`find_workers`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kato_consul._consul.registration_payload import STORE_PROBE_PATH
from kato_consul._flow import Clock, Flow, Outcome, Reply, Send
from kato_consul._registration.instance_info import field_of
from kato_consul._registration.worker_count import (
    CONNECTIONS_PER_WORKER,
    LAST_ON_CONNECTION,
    find_workers,
    start_time,
)

ACTIVITY_TIMEOUT = 2.0
"""Seconds that each request about the activity may take."""

MONITORING_PATHS = frozenset(
    {
        "/",
        "/health",
        "/ready",  # KATO's own Kubernetes manifests probe it, though it does not exist
        "/status",
        "/metrics",
        "/stats",
        "/concurrency",
        "/cache/stats",
        "/connection-pools",
        "/distributed-stm/stats",
        STORE_PROBE_PATH,
    }
)
"""Paths that checks, probes and monitoring read (GET or HEAD). A client that uses KATO reads and
writes others."""

NOT_REPORTED = "it did not report its number of requests in time"


class _Labels(msgspec.Struct):
    method: str = ""
    path: str = ""


class _Point(msgspec.Struct):
    timestamp: float
    labels: _Labels = field(default_factory=_Labels)


class _TimeSeries(msgspec.Struct):
    kato_requests_total: list[_Point]


class _Stats(msgspec.Struct):
    """The response of ``/stats``; ``timestamp`` is KATO's time, as are those of the points."""

    timestamp: float
    time_series: _TimeSeries


_stats_decoder = msgspec.json.Decoder(_Stats)


@dataclass
class InstanceActivity:
    """What clients do at one instance. ``check_paths`` are the paths of its own plain checks."""

    origin: str
    clock: Clock
    check_paths: Collection[str] = ()
    workers: set[float] = field(default_factory=set)
    description: str = NOT_REPORTED

    def find_workers(self, within: float) -> Flow[None]:
        """Flow: find worker processes within so many seconds, beside those that are known.

        On a busy machine the scheduler lets some processes accept all connections for a while: four
        processes were not all seen at once in 53 of 120 counts, and in 2 of 120 by four counts in a
        second (measured with the stand-in on two cores and three other busy processes).
        """
        found = yield from find_workers(self.origin, ACTIVITY_TIMEOUT, within, clock=self.clock)
        self.workers.update(found or ())

    def is_idle(self, quiet_for: float, within: float) -> Flow[bool]:
        """Flow: return whether no process has a request of a client in progress, and none had one
        in the last ``quiet_for`` seconds. Takes ``within`` seconds at most.

        If not, or if it is not known, ``description`` has the reason.
        """
        started = self.clock()
        until = started + within
        missing = set(self.workers)
        for _ in range(CONNECTIONS_PER_WORKER * len(self.workers)):
            if not missing:
                break
            health = yield from self._get("/health", until)
            stats = yield from self._get("/stats?minutes=1", until)
            # Last, so that a request is either listed already or still in progress.
            load = yield from self._get("/concurrency", until, LAST_ON_CONNECTION)
            worker, in_progress = start_time(health), _in_progress(load)
            ages = self._ages(stats)
            if worker is None or in_progress is None or ages is None:
                if self.clock() < until:  # otherwise what the last poll found is more useful
                    self.description = NOT_REPORTED
                return False
            self.workers.add(worker)
            missing.discard(worker)
            # One moment must be quiet in all processes, which answer one after the other.
            window = quiet_for + (self.clock() - started)
            recent = sum(age < window for age in ages)
            if in_progress > 0 or recent:
                self.description = (
                    f"{in_progress:g} requests in progress, "
                    f"{recent} of clients in the last {window:.1f} s"
                )
                return False
        if missing:
            self.description = (
                f"{len(missing)} of its {len(self.workers)} worker processes did not answer"
            )
        return bool(self.workers) and not missing

    def _get(
        self, target: str, until: float, headers: dict[str, str] | None = None
    ) -> Flow[Outcome | None]:
        if (left := until - self.clock()) <= 0:
            return None
        timeout = min(ACTIVITY_TIMEOUT, left)
        outcome: Outcome = yield Send(self.origin, "GET", target, timeout, headers or {})
        return outcome

    def _ages(self, stats: Outcome | None) -> list[float] | None:
        """Return how many seconds ago each request of a client ended; None if it is not known."""
        if not isinstance(stats, Reply):
            return None
        try:
            read = _stats_decoder.decode(stats.body)
        except (msgspec.MsgspecError, RecursionError):
            return None
        return [
            read.timestamp - point.timestamp
            for point in read.time_series.kato_requests_total
            if not self._is_monitoring(point.labels)
        ]

    def _is_monitoring(self, labels: _Labels) -> bool:
        if labels.path in self.check_paths:
            return True
        reads = labels.method in ("GET", "HEAD")
        return reads and (labels.path in MONITORING_PATHS or labels.path.startswith("/metrics/"))


def _in_progress(load: Outcome | None) -> float | None:
    """Return the number of requests in progress without the one that reports it."""
    current: Any = field_of(load, "current") if isinstance(load, Reply) else None
    number = current.get("concurrent_requests") if isinstance(current, dict) else None
    return number - 1.0 if isinstance(number, int | float) else None
