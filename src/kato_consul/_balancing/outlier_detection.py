"""What our own eyes say of an instance, beside Consul's word: who fails is let alone for a while.

Consul notices a dead instance at its next check, seconds later; a client that was just refused, or
waited in vain, knows at once. The rules are those of Envoy's outlier detection, sized for a pool of
three instances instead of three hundred:

| what happened                                  | then                                            |
| ---------------------------------------------- | ----------------------------------------------- |
| refused, or silent until an attempt timed out  | out at once                                     |
| `IN_A_ROW` times in a row cut, 502, 503 or 504 | out                                             |
| out for the first time in a row                | for as long as the failure took, or `SHORTEST`  |
| out for the n-th time in a row                 | for 2^(n-1) times that, but `LONGEST` at most   |
| the time is over                               | half-open: one request at a time tries it       |
| that one fails                                 | out again, for longer                           |
| any answer of the application's                | the slate is clean                              |
| more than half of the pool would be out        | panic: nobody is, since so many are no outliers |
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kato_consul.models import Instance

IN_A_ROW = 3
"""Failures in a row, of those that prove nothing alone. Envoy's default is 5, among instances that
see far more requests than one of three."""

SHORTEST = 1.0
"""Seconds. A restarted process is back in about that, and being refused again costs 1 ms."""

LONGEST = 30.0
"""Seconds: Envoy's ``base_ejection_time``. By then Consul has had its say with any usual check."""

DOUBLINGS = 5
"""2^5 times the shortest is past the longest; more would only overflow one day."""

AT_MOST = 0.5
"""The share of a pool that may be out: Envoy's ``healthy_panic_threshold`` of 50 %."""

NO_INSTANCES: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Record:
    in_a_row: int = 0
    ejections: int = 0
    out_until: float = 0.0
    tried_until: float = 0.0


class OutlierDetector:
    """Who is out, by uid. Times are those of the caller's clock."""

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def attempt_started(self, uid: str, now: float, within: float) -> None:
        """A request goes to the instance. If it is half-open, nobody else's does meanwhile."""
        record = self._records.get(uid)
        if record is not None and record.ejections:
            record.tried_until = now + within

    def record_failure(self, uid: str, now: float, took: float, *, at_once: bool) -> None:
        """An attempt failed after ``took`` seconds. While out, further failures count as the same:
        they are the requests that were under way together."""
        record = self._records.setdefault(uid, _Record())
        record.in_a_row += 1
        if now < record.out_until:
            return
        if at_once or record.ejections or record.in_a_row >= IN_A_ROW:
            doublings = min(record.ejections, DOUBLINGS)
            record.ejections += 1
            record.out_until = now + min(LONGEST, max(SHORTEST, took) * 2**doublings)
            record.tried_until = 0.0

    def record_success(self, uid: str) -> None:
        """An attempt was answered: the slate is clean."""
        if self._records:
            self._records.pop(uid, None)

    def forget(self, uids: Iterable[str]) -> None:
        """These left the pool."""
        for uid in uids:
            self._records.pop(uid, None)

    def is_ejected(self, uid: str, now: float) -> bool:
        """Is the instance let alone for now, panic aside?"""
        record = self._records.get(uid)
        return record is not None and (now < record.out_until or now < record.tried_until)

    def ejected_for(self, uid: str, now: float) -> float:
        """Seconds until it is tried again; 0 when it is not out."""
        record = self._records.get(uid)
        return 0.0 if record is None else max(0.0, record.out_until - now)

    def ejected(self, pool: Collection[Instance], now: float) -> frozenset[str]:
        """The uids of those of a pool that are out; nobody when it is more than `AT_MOST`."""
        if not self._records:
            return NO_INSTANCES
        out = frozenset(one.uid for one in pool if self.is_ejected(one.uid, now))
        return out if len(out) <= AT_MOST * len(pool) else NO_INSTANCES
