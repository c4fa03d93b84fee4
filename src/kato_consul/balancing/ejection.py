"""What our own eyes say of an instance, beside Consul's word: who failed lately is asked last.

Consul notices a dead instance at its next check, seconds later; a client that was just refused, or
waited in vain, knows at once. Such an instance is out for a while, longer each time in a row. It is
not excluded: when everybody is out, everybody is asked. The first success forgives all.

| failures in a row | out for                                                      |
| ----------------- | ------------------------------------------------------------ |
| 1                 | as long as the failure took, but `SHORTEST` at least         |
| n                 | 2^(n-1) times that, but `LONGEST` at most                    |
"""

from dataclasses import dataclass, field

SHORTEST = 1.0
"""Seconds. A restarted process is back in about that, and being refused again costs 1 ms."""

LONGEST = 30.0
"""Seconds: Envoy's ``base_ejection_time``. By then Consul has had its say with any usual check."""

DOUBLINGS = 5
"""2^5 times the shortest is past the longest; more would only overflow one day."""


@dataclass(slots=True)
class _Record:
    failures: int
    out_until: float


@dataclass(slots=True)
class Ejection:
    """Who failed lately, by uid. Times are those of the caller's clock."""

    _records: dict[str, _Record] = field(default_factory=dict)

    def failed(self, instance_id: str, now: float, took: float) -> None:
        """An attempt failed after ``took`` seconds. While out, further failures count as the same:
        they are the calls that were under way together."""
        record = self._records.get(instance_id)
        if record is not None and now < record.out_until:
            return
        failures = record.failures + 1 if record is not None else 1
        doublings = min(failures - 1, DOUBLINGS)
        out_for = min(LONGEST, max(SHORTEST, took) * 2**doublings)
        self._records[instance_id] = _Record(failures, now + out_for)

    def succeeded(self, instance_id: str) -> None:
        """An attempt was answered: the slate is clean."""
        self._records.pop(instance_id, None)

    def is_out(self, instance_id: str, now: float) -> bool:
        """Is the instance to be asked last for now?"""
        record = self._records.get(instance_id)
        return record is not None and now < record.out_until
