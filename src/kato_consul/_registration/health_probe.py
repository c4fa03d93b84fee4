"""Health probe: the health status of a KATO instance, measured by requests as a client sends them.

KATO's own ``/health`` returns 200 whatever its body reports, and it reports "healthy" while the
store is down or rejects writes. So a probe sends two requests: ``/health``, whose body is read, and
one that empties the short-term memory of a session of the probe's own. The second one must read
from the store and write to it (KATO 3.10.1 returns 404 for it while the store is down or full).

| result of the probe                                      | status   |
| -------------------------------------------------------- | -------- |
| no connection; not KATO                                  | critical |
| hung: connected, but no answer to ``/health`` in time    | critical |
| it reports "unhealthy"                                   | critical |
| its store does not answer, or accepts no writes          | critical |
| it reports "degraded"; at its limit of requests          | warning  |
| an answer took longer than ``slow``                      | warning  |
| otherwise                                                | passing  |

If it reports "degraded" or "unhealthy" only because of the load of its machine, it passes, with the
load in the note; with ``warn_on_load`` this is a warning.

Which results change the status is in `hysteresis`. A result that differs from the current status is
checked again soon, so that this does not delay the detection of a crash.

Probes of one instance do not overlap. While an instance does not answer, each request waits longer
than the one before, and follows it without a pause. So requests do not pile up in it, and the first
answer is noticed at once: an instance that is called hung has not answered until now.
"""

import msgspec

from kato_consul._consul.snapshot_decoder import BUSY_NOTE
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
from kato_consul._registration.health_report import (
    connect_timed_out,
    read_report,
    shows_hang,
)
from kato_consul._registration.hysteresis import HUNG, Hysteresis, ProbeResult
from kato_consul._registration.instance_info import field_of, read_info
from kato_consul._registration.registrar_state import HealthStatus, ManagedInstance, RegistrarState
from kato_consul._requests.gateway import gateway_refusal, strange_body
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

STARTS_WITHIN = 30.0
"""Seconds after which an instance that accepts no connections is an event, although the registrar
started together with it."""

PASSING_NOTE = "KATO and its store answer"


class Prober:
    """Probes one instance. Its session is kept from probe to probe."""

    def __init__(self, origin: str, definition: ProbeDefinition, clock: Clock) -> None:
        self._origin = origin
        self._clock = clock
        self._session = ""
        self._slow = parse_duration(definition.slow)
        self._warn_on_load = definition.warn_on_load

    def probe(self, within: float) -> Flow[ProbeResult]:
        """Flow: probe once; each answer may take ``within`` seconds."""
        started = self._clock()
        outcome: Outcome = yield self._send("GET", "/health", within)
        longest = self._clock() - started
        health = self._rate_health(outcome)
        if health.status is Health.CRITICAL:
            return health
        started = self._clock()
        store_problem = yield from self._probe_store(within)
        longest = max(longest, self._clock() - started)
        if store_problem is not None:
            return store_problem
        if health.status is Health.PASSING and longest > self._slow:
            return ProbeResult(Health.WARNING, f"slow: an answer took longer than {self._slow:g} s")
        return health

    def _rate_health(self, outcome: Outcome) -> ProbeResult:
        """Return the result so far: what the answer to ``/health`` shows."""
        if shows_hang(outcome):
            return HUNG
        if (problem := _transport_problem(outcome)) is not None:
            return problem
        assert isinstance(outcome, Reply)
        report = read_report(outcome)
        if report is None:
            why = gateway_refusal(outcome) or strange_body(outcome)
            note = f"not KATO: /health returned {outcome.status}"
            return ProbeResult(Health.CRITICAL, f"{note}: {why}" if why else note)
        if report.status == "healthy":
            return ProbeResult(Health.PASSING, PASSING_NOTE)
        if report.is_load and not self._warn_on_load:
            return ProbeResult(Health.PASSING, f"{BUSY_NOTE}: {', '.join(report.issues)}")
        critical = report.status == "unhealthy" and not report.is_load
        status = Health.CRITICAL if critical else Health.WARNING
        return ProbeResult(status, f"/health reports {report}")

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
    began, starting, reported = clock(), state.starts_with_instance, None
    info_outdated = True
    unanswered_since: float | None = None
    try:
        while not instance.removed:
            if instance.in_maintenance:
                unanswered_since = instance.hung_since = None
                yield WaitForChange(
                    instance.health, instance.health.current, interval / RECHECK_DIVISOR
                )
                continue
            started = clock()
            result = yield from prober.probe(within)
            before = instance.health.current
            if result.connect_timed_out and before is not None and before.hung:
                result = HUNG  # its queue of connections is full by now
            if not result.hung:
                unanswered_since = None
            elif unanswered_since is None:
                unanswered_since = started
            health = hysteresis.after(result, before)
            if health is not before and not instance.removed:
                instance.health.set(health)
            starting = starting and clock() - began < STARTS_WITHIN and _is_starting(result, health)
            if health is not reported and not starting and not instance.removed:
                reported = health
                shown = {"status": health.status.value, "note": health.note, "hung": health.hung}
                on_event(RegistrarEvent.HEALTH, instance.definition.id, **shown)
            critical = health.status is Health.CRITICAL
            instance.hung_since = unanswered_since if critical else None
            if before is not None and health is not before and before.status is Health.CRITICAL:
                info_outdated = True  # it may have been restarted with another version
            if info_outdated and result.status is not Health.CRITICAL:
                info_outdated = False
                yield from read_info(instance, on_event)
                state.request_reconcile()  # to publish the info
            if result.timed_out and critical:
                within = min(max(timeout, MAX_PROBE_TIMEOUT), within * 2)
                continue
            within = timeout
            pause = interval if result.status is health.status else interval / RECHECK_DIVISOR
            spread = 1 + PROBE_JITTER * (2 * random() - 1)
            yield WaitForChange(instance.health, instance.health.current, pause * spread)
    finally:
        # Whatever ended the probe, its last result is not true for ever: the check's TTL expires.
        instance.hung_since = None
        instance.health.set(None)


def _is_starting(result: ProbeResult, health: HealthStatus) -> bool:
    """Return whether an instance that was never healthy may just not accept connections yet."""
    if health.status is not Health.CRITICAL:
        return False
    return result.no_connection or result.status is not Health.CRITICAL


def _store_problem(outcome: Outcome) -> ProbeResult | None:
    if shows_hang(outcome):
        note = "its store does not answer: a session request got no answer in time"
        return ProbeResult(Health.CRITICAL, note, timed_out=True)
    if (problem := _transport_problem(outcome)) is not None:
        return problem
    assert isinstance(outcome, Reply)
    if outcome.status == 200:
        return None
    if refusal := gateway_refusal(outcome):
        return ProbeResult(Health.CRITICAL, f"a request returned {outcome.status}: {refusal}")
    return ProbeResult(
        Health.CRITICAL,
        f"its store does not answer: a session request returned {outcome.status}",
    )


def _transport_problem(outcome: Outcome) -> ProbeResult | None:
    if isinstance(outcome, Failure):
        # What else is in an outcome differs from probe to probe. A TLS error does not.
        note = str(outcome) if outcome.cause is Cause.TLS else str(outcome.cause)
        return ProbeResult(
            Health.CRITICAL,
            note,
            connect_timed_out=connect_timed_out(outcome),
            no_connection=not outcome.bytes_sent,
        )
    # The server's own limit: it is busy, not broken.
    if outcome.status == 503:
        return ProbeResult(Health.WARNING, "at its limit of concurrent requests")
    return None
