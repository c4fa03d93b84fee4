"""Hysteresis: the n-of-m rule, by which the results of probes change the health status.

The status becomes worse when ``agree`` of the last ``of`` results have the worse status. It becomes
better when the last ``agree`` results have the better one, so an instance that fails every other
probe stays critical. The first result decides alone. While the status stays the same, its note
changes when the last ``agree`` results have the same new note.
"""

from collections import deque
from dataclasses import dataclass

from kato_consul._registration.health_report import HUNG_NOTE
from kato_consul._registration.registrar_state import HealthStatus
from kato_consul.models import Health

_FROM_BEST_TO_WORST = (Health.PASSING, Health.WARNING, Health.CRITICAL)


@dataclass(frozen=True)
class ProbeResult:
    """Result of one probe.

    ``hung``: it accepted a connection and did not answer ``/health`` in time.
    ``timed_out``: a request, of whatever kind, was not answered in time.
    ``connect_timed_out``: no connection was accepted or refused in time.
    ``no_connection``: there was none, for whatever reason.
    """

    status: Health
    note: str
    hung: bool = False
    timed_out: bool = False
    connect_timed_out: bool = False
    no_connection: bool = False


HUNG = ProbeResult(Health.CRITICAL, HUNG_NOTE, hung=True, timed_out=True)


class Hysteresis:
    """The n-of-m rule: derives the health status from probe results, and changes it by majority."""

    def __init__(self, agree: int, of: int) -> None:
        self._agree = agree
        self._results: deque[ProbeResult] = deque(maxlen=of)

    def after(self, result: ProbeResult, current: HealthStatus | None) -> HealthStatus:
        """Return the status after a result: the same object while the status does not change."""
        self._results.append(result)
        latest = HealthStatus(result.status, result.note, hung=result.hung)
        if current is None:
            return latest
        if latest == current:
            return current
        rank = _FROM_BEST_TO_WORST.index
        worse = rank(result.status) > rank(current.status)
        counted = list(self._results) if worse else list(self._results)[-self._agree :]
        if result.status is current.status:
            agreeing = [one for one in counted if one == result]
        else:
            agreeing = [one for one in counted if one.status is result.status]
        return latest if len(agreeing) >= self._agree else current
