"""Outlier detection: ejects instances that fail, before Consul's checks detect it.

Consul detects a dead instance at its next check, seconds later. A client detects it as soon as a
request is refused or times out. The rules are those of Envoy's outlier detection, sized for a pool
of three instances instead of three hundred:

| event                                       | effect                                          |
| ------------------------------------------- | ----------------------------------------------- |
| refused, or no reply before the timeout     | ejected at once                                 |
| `CONSECUTIVE_FAILURES` cut, 502, 503 or 504 | ejected                                         |
| first ejection in a row                     | for the failure's time, `MIN_EJECTION` at least |
| n-th ejection in a row                      | for 2^(n-1) times that, `MAX_EJECTION` at most  |
| the ejection ends                           | half-open: one request at a time probes it      |
| the probe fails                             | ejected again, for longer                       |
| any reply of the application                | the record is cleared                           |
| more than half of the pool is ejected       | panic: ejections are ignored                    |

In panic, so many instances fail that they are not outliers.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kato_consul.models import Instance

CONSECUTIVE_FAILURES = 3
"""Failures in a row that eject, of the kind that does not eject at once. Envoy's default is 5, for
instances that get far more requests than one of three."""

MIN_EJECTION = 1.0
"""Seconds. A restarted process is back in about that time, and one more refusal costs 1 ms."""

MAX_EJECTION = 30.0
"""Seconds (``base_ejection_time`` of Envoy). By then any usual check of Consul has run."""

MAX_DOUBLINGS = 5
"""2^5 times the minimum exceeds the maximum; more doublings would overflow in the end."""

MAX_EJECTED_SHARE = 0.5
"""The share of a pool that may be ejected: 50 %, as Envoy's ``healthy_panic_threshold``."""

NO_INSTANCES: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Record:
    failures_in_a_row: int = 0
    ejections: int = 0
    ejected_until: float = 0.0
    probed_until: float = 0.0


class OutlierDetector:
    """Failures and ejections of instances, by uid. Times are seconds on the caller's clock."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def attempt_started(self, uid: str, now: float, timeout: float) -> None:
        """Record that a request is sent to the instance.

        If the instance is half-open, this is the probe: other requests avoid the instance for
        ``timeout`` seconds or until the probe ends.
        """
        record = self._records.get(uid)
        if record is not None and record.ejections:
            record.probed_until = now + timeout

    def record_failure(self, uid: str, now: float, took: float, *, eject_now: bool) -> float:
        """Record that an attempt failed after ``took`` seconds. Return for how many seconds this
        ejects the instance; 0 if it does not.

        ``eject_now``: one such failure is enough. Failures during an ejection do not prolong it:
        those requests were in flight together.
        """
        record = self._records.setdefault(uid, _Record())
        record.failures_in_a_row += 1
        if now < record.ejected_until:
            return 0.0
        if eject_now or record.ejections or record.failures_in_a_row >= CONSECUTIVE_FAILURES:
            doublings = min(record.ejections, MAX_DOUBLINGS)
            record.ejections += 1
            seconds: float = min(MAX_EJECTION, max(MIN_EJECTION, took) * 2**doublings)
            record.ejected_until = now + seconds
            record.probed_until = 0.0
            return seconds
        return 0.0

    def record_success(self, uid: str) -> bool:
        """Record that an attempt was answered: clears the instance's record. Return whether it had
        been ejected."""
        record = self._records.pop(uid, None) if self._records else None
        return record is not None and record.ejections > 0

    def remove(self, uids: Iterable[str]) -> None:
        """Remove instances that left the pool."""
        for uid in uids:
            self._records.pop(uid, None)

    def is_ejected(self, uid: str, now: float) -> bool:
        """Return whether the instance is ejected or being probed, regardless of panic."""
        record = self._records.get(uid)
        return record is not None and (now < record.ejected_until or now < record.probed_until)

    def ejected_for(self, uid: str, now: float) -> float:
        """Return the seconds until the ejection ends; 0 without one."""
        record = self._records.get(uid)
        return 0.0 if record is None else max(0.0, record.ejected_until - now)

    def ejected(self, pool: Collection[Instance], now: float) -> frozenset[str]:
        """Return the uids of the ejected instances of a pool.

        Empty in panic, when they are more than `MAX_EJECTED_SHARE` of the pool.
        """
        if not self._records:
            return NO_INSTANCES
        ejected = frozenset(instance.uid for instance in pool if self.is_ejected(instance.uid, now))
        return ejected if len(ejected) <= MAX_EJECTED_SHARE * len(pool) else NO_INSTANCES
