"""Health probe: the health status of a KATO instance, measured by requests as a client sends them.

KATO's own ``/health`` returns 200 whatever its body reports, and it reports "healthy" while the
store is down or rejects writes. So a probe sends two requests: ``/health``, whose body is read, and
one that empties the short-term memory of a session of the probe's own. The second one must read
from the store and write to it (KATO 3.10.1 returns 404 for it while the store is down or full).

| result of the probe                                      | status   |
| -------------------------------------------------------- | -------- |
| no connection; no answer in time; not KATO               | critical |
| it reports "unhealthy"                                   | critical |
| its store does not answer, or accepts no writes          | critical |
| it reports "degraded"; at its limit of requests          | warning  |
| an answer took longer than ``slow``                      | warning  |
| otherwise                                                | passing  |

The status becomes worse when ``agree`` of the last ``of`` results have the worse status. It becomes
better when the last ``agree`` results have the better one, so an instance that fails every other
probe stays critical. The first result decides alone. A result that differs from the current status
is checked again soon, so that this hysteresis does not delay the detection of a crash.

Probes of one instance do not overlap. While an instance hangs, each probe waits longer than the one
before. So requests do not pile up in it, and the first answer is noticed at once.
"""

from collections import deque
from dataclasses import dataclass

import msgspec

from kato_consul._definitions.schema import ProbeDefinition
from kato_consul._durations import parse_duration
from kato_consul._flow import (
    JSON_HEADERS,
    Cause,
    Clock,
    Failure,
    Flow,
    Outcome,
    Random,
    Reply,
    Send,
    WaitForChange,
)
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import field_of, read_info
from kato_consul._registration.registrar_state import HealthStatus, ManagedInstance, RegistrarState
from kato_consul.models import Health

PROBE_NODE_ID = "kato-consul-probe"
"""KATO's node id of the probe's sessions. Nothing is ever learned on this node."""

RECHECK_DIVISOR = 5
"""A result that differs from the current status is checked again after a fifth of the interval."""

PROBE_JITTER = 0.1
"""Share of the interval by which probes vary, so that several probers do not synchronize."""

MAX_PROBE_TIMEOUT = 30.0
"""Seconds that a probe waits for a hung instance at most. If the other end of the connection is
gone without a reset, no answer will come, and a longer wait would only delay the next probe."""

PASSING_NOTE = "KATO and its store answer"

_FROM_BEST_TO_WORST = (Health.PASSING, Health.WARNING, Health.CRITICAL)


@dataclass(frozen=True)
class ProbeResult:
    """Result of one probe. ``hung``: the instance received the request and did not answer."""

    status: Health
    note: str
    hung: bool = False


class Hysteresis:
    """The n-of-m rule: derives the health status from probe results, and changes it by majority."""

    def __init__(self, agree: int, of: int) -> None:
        self._agree = agree
        self._results: deque[ProbeResult] = deque(maxlen=of)

    def after(self, result: ProbeResult, current: HealthStatus | None) -> HealthStatus:
        """Return the status after a result: the same object while the status does not change."""
        self._results.append(result)
        if current is None:
            return HealthStatus(result.status, result.note)
        if result.status is current.status:
            return current
        rank = _FROM_BEST_TO_WORST.index
        worse = rank(result.status) > rank(current.status)
        counted = list(self._results) if worse else list(self._results)[-self._agree :]
        agreeing = [one for one in counted if one.status is result.status]
        if len(agreeing) < self._agree:
            return current
        return HealthStatus(result.status, agreeing[0].note)


class Prober:
    """Probes one instance. Its session is kept from probe to probe."""

    def __init__(self, origin: str, definition: ProbeDefinition, clock: Clock) -> None:
        self._origin = origin
        self._clock = clock
        self._session = ""
        self._slow = parse_duration(definition.slow)

    def probe(self, within: float) -> Flow[ProbeResult]:
        """Flow: probe once; each answer may take ``within`` seconds."""
        started = self._clock()
        health: Outcome = yield self._send("GET", "/health", within)
        longest = self._clock() - started
        health_problem = _health_problem(health)
        if health_problem is not None and health_problem.status is Health.CRITICAL:
            return health_problem
        started = self._clock()
        store_problem = yield from self._probe_store(within)
        longest = max(longest, self._clock() - started)
        if store_problem is not None:
            return store_problem
        if health_problem is not None:
            return health_problem
        if longest > self._slow:
            return ProbeResult(Health.WARNING, f"slow: an answer took longer than {self._slow:g} s")
        return ProbeResult(Health.PASSING, PASSING_NOTE)

    def _probe_store(self, within: float) -> Flow[ProbeResult | None]:
        """Flow: probe the store; None if it answers and accepts writes."""
        if self._session:
            outcome: Outcome = yield self._send("POST", f"{self._path}/clear-stm", within)
            if not (isinstance(outcome, Reply) and outcome.status == 404):
                return _store_problem(outcome)
            # KATO returns 404 for a store that is down as well as for a missing session.
            outcome = yield self._send("GET", f"{self._path}/exists", within)
            if (problem := _store_problem(outcome)) is not None:
                return problem
            assert isinstance(outcome, Reply)
            if field_of(outcome, "exists") is not False:
                return ProbeResult(Health.CRITICAL, "its store accepts no writes")
            self._session = ""  # it expired, or the store was emptied
        body = msgspec.json.encode({"node_id": PROBE_NODE_ID})
        outcome = yield self._send("POST", "/sessions", within, body)
        if (problem := _store_problem(outcome)) is not None:
            return problem
        assert isinstance(outcome, Reply)
        self._session = str(field_of(outcome, "session_id") or "")
        if not self._session:
            return ProbeResult(Health.CRITICAL, "it created a session without an id")
        return None

    @property
    def _path(self) -> str:
        return f"/sessions/{self._session}"

    def _send(self, method: str, target: str, within: float, body: bytes = b"") -> Send:
        headers = JSON_HEADERS if body else {}
        return Send(self._origin, method, target, within, headers, body)


def probe_instance(
    state: RegistrarState,
    instance: ManagedInstance,
    *,
    clock: Clock,
    random: Random,
    on_event: EventSink,
) -> Flow[None]:
    """Flow: probe an instance periodically and set its health, until it is removed."""
    definition = instance.definition.probe
    assert definition is not None
    prober = Prober(instance.definition.origin, definition, clock)
    hysteresis = Hysteresis(definition.agree, definition.of)
    interval = parse_duration(definition.interval)
    timeout = parse_duration(definition.timeout)
    within = timeout
    info_outdated = True
    while not instance.removed:
        if instance.in_maintenance:
            yield WaitForChange(
                instance.health, instance.health.current, interval / RECHECK_DIVISOR
            )
            continue
        result = yield from prober.probe(within)
        before = instance.health.current
        health = hysteresis.after(result, before)
        if health is not before and not instance.removed:
            instance.health.set(health)
            on_event(
                RegistrarEvent.HEALTH,
                instance.definition.id,
                status=health.status.value,
                note=health.note,
            )
        if before is not None and health is not before and before.status is Health.CRITICAL:
            info_outdated = True  # it may have been restarted with another version
        if info_outdated and result.status is not Health.CRITICAL:
            info_outdated = False
            yield from read_info(instance, on_event)
            state.request_reconcile()  # to publish the info
        hangs = result.hung and health.status is Health.CRITICAL
        within = min(max(timeout, MAX_PROBE_TIMEOUT), within * 2) if hangs else timeout
        pause = interval if result.status is health.status else interval / RECHECK_DIVISOR
        spread = 1 + PROBE_JITTER * (2 * random() - 1)
        yield WaitForChange(instance.health, instance.health.current, pause * spread)


def _health_problem(outcome: Outcome) -> ProbeResult | None:
    if (problem := _transport_problem(outcome)) is not None:
        return problem
    assert isinstance(outcome, Reply)
    status = field_of(outcome, "status")
    if outcome.status != 200 or not isinstance(status, str):
        return ProbeResult(Health.CRITICAL, f"not KATO: /health returned {outcome.status}")
    if status == "unhealthy":
        return ProbeResult(Health.CRITICAL, "/health reports unhealthy")
    if status != "healthy":
        return ProbeResult(Health.WARNING, f"/health reports {status[:40]}")
    return None


def _store_problem(outcome: Outcome) -> ProbeResult | None:
    if (problem := _transport_problem(outcome)) is not None:
        return problem
    assert isinstance(outcome, Reply)
    if outcome.status == 200:
        return None
    return ProbeResult(
        Health.CRITICAL,
        f"its store does not answer: a session request returned {outcome.status}",
    )


def _transport_problem(outcome: Outcome) -> ProbeResult | None:
    if isinstance(outcome, Failure):
        hung = outcome.bytes_sent and outcome.cause is Cause.TIMEOUT
        return ProbeResult(Health.CRITICAL, str(outcome.cause), hung=hung)
    # The server's own limit: it is busy, not broken.
    if outcome.status == 503:
        return ProbeResult(Health.WARNING, "at its limit of concurrent requests")
    return None
