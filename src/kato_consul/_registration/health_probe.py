"""How a KATO instance really is, found out by asking it as a client would.

KATO's own ``/health`` is a 200 whatever its body says, and stays "healthy" while the store is away
or takes no writes. So a look is two questions: ``/health``, whose body is read, and emptying the
memory of a session of our own, which has to read from the store and write to it (on KATO 3.10.1
that answers 404 while the store is down or full).

| what was seen                                  | status   |
| ---------------------------------------------- | -------- |
| no connection; no answer in time; not KATO     | critical |
| it calls itself unhealthy                      | critical |
| its store does not answer, or takes no writes  | critical |
| it calls itself degraded; at its request limit | warning  |
| an answer took longer than ``slow``            | warning  |
| otherwise                                      | passing  |

A status becomes worse when ``agree`` of the last ``of`` looks say so, and better when the last
``agree`` in a row do: an instance that is well every other time stays out. The first look decides
alone. A
look that differs from the verdict is repeated soon, so that hysteresis does not make a crash late.
There is one look at a time. While an instance hangs, each look waits longer than the one before, so
that no heap of requests waits in it, and the first answer is known at once.
"""

from collections import deque
from dataclasses import dataclass

import msgspec

from kato_consul import _durations as durations
from kato_consul._definitions.schema import ProbeDefinition
from kato_consul._flow import (
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

NODE = "kato-consul-probe"
"""The node of our sessions: it never learns anything."""

RETRY_DIVISOR = 5
"""A doubtful look is repeated after a fifth of the interval."""

JITTER = 0.1
"""Share of the interval by which looks are spread, so that probers do not march in step."""

LONGEST_PROBE = 30.0
"""Seconds a look waits for a hung instance at most: a connection whose other end is gone without a
word must not be waited for much longer."""

GOOD = "KATO and its store answer"

WORST_LAST = (Health.PASSING, Health.WARNING, Health.CRITICAL)


@dataclass(frozen=True)
class ProbeResult:
    """What one look saw. ``hung``: the instance took the request and was silent."""

    status: Health
    note: str
    hung: bool = False


class Hysteresis:
    """The n of m rule: turns looks into a verdict, and a new verdict only with a majority."""

    def __init__(self, agree: int, of: int) -> None:
        self._agree = agree
        self._last: deque[ProbeResult] = deque(maxlen=of)

    def after(self, look: ProbeResult, verdict: HealthStatus | None) -> HealthStatus:
        """The verdict now: the same object as before while the status does not change."""
        self._last.append(look)
        if verdict is None:
            return HealthStatus(look.status, look.note)
        if look.status is verdict.status:
            return verdict
        worse = WORST_LAST.index(look.status) > WORST_LAST.index(verdict.status)
        counted = list(self._last) if worse else list(self._last)[-self._agree :]
        same = [one for one in counted if one.status is look.status]
        return HealthStatus(look.status, same[0].note) if len(same) >= self._agree else verdict


class Prober:
    """Looks at one instance. Keeps the session it asks with between looks."""

    def __init__(self, origin: str, probe: ProbeDefinition, clock: Clock) -> None:
        self._origin = origin
        self._clock = clock
        self._session = ""
        self._slow = durations.parse_duration(probe.slow)

    def probe(self, within: float) -> Flow[ProbeResult]:
        """Flow: one look; each question may take ``within`` seconds."""
        began = self._clock()
        health: Outcome = yield self._send("GET", "/health", within)
        took = self._clock() - began
        if (bad := _of_health(health)) is not None and bad.status is Health.CRITICAL:
            return bad
        began = self._clock()
        store = yield from self._ask_store(within)
        took = max(took, self._clock() - began)
        if store is not None:
            return store
        if bad is not None:
            return bad
        if took > self._slow:
            return ProbeResult(Health.WARNING, f"slow: an answer took longer than {self._slow:g} s")
        return ProbeResult(Health.PASSING, GOOD)

    def _ask_store(self, within: float) -> Flow[ProbeResult | None]:
        """What is wrong with the store, if anything."""
        if self._session:
            outcome: Outcome = yield self._send("POST", f"{self._path}/clear-stm", within)
            if not (isinstance(outcome, Reply) and outcome.status == 404):
                return _of_store(outcome)
            # "Not found" is what KATO says of a store that is away, too.
            outcome = yield self._send("GET", f"{self._path}/exists", within)
            if (bad := _of_store(outcome)) is not None:
                return bad
            assert isinstance(outcome, Reply)
            if field_of(outcome, "exists") is not False:
                return ProbeResult(Health.CRITICAL, "its store takes no writes")
            self._session = ""  # it expired, or the store was emptied
        body = msgspec.json.encode({"node_id": NODE})
        outcome = yield self._send("POST", "/sessions", within, body)
        if (bad := _of_store(outcome)) is not None:
            return bad
        assert isinstance(outcome, Reply)
        self._session = str(field_of(outcome, "session_id") or "")
        return (
            None
            if self._session
            else ProbeResult(Health.CRITICAL, "it makes sessions without an id")
        )

    @property
    def _path(self) -> str:
        return f"/sessions/{self._session}"

    def _send(self, method: str, target: str, within: float, body: bytes = b"") -> Send:
        headers = {"content-type": "application/json"} if body else {}
        return Send(self._origin, method, target, within, headers, body)


def probe(
    state: RegistrarState,
    one: ManagedInstance,
    *,
    clock: Clock,
    random: Random,
    on_event: EventSink,
) -> Flow[None]:
    """Flow: look at an instance again and again, until nobody looks after it any more."""
    asked = one.definition.probe
    assert asked is not None
    prober = Prober(one.definition.origin, asked, clock)
    hysteresis = Hysteresis(asked.agree, asked.of)
    interval, timeout = (
        durations.parse_duration(asked.interval),
        durations.parse_duration(asked.timeout),
    )
    within = timeout
    came_up = True
    while not one.removed:
        if one.in_maintenance:
            yield WaitForChange(one.health, one.health.current, interval / RETRY_DIVISOR)
            continue
        look = yield from prober.probe(within)
        before = one.health.current
        verdict = hysteresis.after(look, before)
        if verdict is not before and not one.removed:
            one.health.set(verdict)
            on_event(
                RegistrarEvent.HEALTH,
                one.definition.id,
                status=verdict.status.value,
                note=verdict.note,
            )
        if before is not None and verdict is not before and before.status is Health.CRITICAL:
            came_up = True  # for all we know it came up as another version
        if came_up and look.status is not Health.CRITICAL:
            came_up = False
            yield from read_info(one, on_event)
            state.request_reconcile()  # what was learned is to stand in Consul
        down = look.hung and verdict.status is Health.CRITICAL
        within = min(max(timeout, LONGEST_PROBE), within * 2) if down else timeout
        pause = interval if look.status is verdict.status else interval / RETRY_DIVISOR
        spread = 1 + JITTER * (2 * random() - 1)
        yield WaitForChange(one.health, one.health.current, pause * spread)


def _of_health(outcome: Outcome) -> ProbeResult | None:
    if (bad := _of_transport(outcome)) is not None:
        return bad
    assert isinstance(outcome, Reply)
    status = field_of(outcome, "status")
    if outcome.status != 200 or not isinstance(status, str):
        return ProbeResult(Health.CRITICAL, f"no KATO: /health says {outcome.status}")
    if status == "unhealthy":
        return ProbeResult(Health.CRITICAL, "it calls itself unhealthy")
    return (
        None
        if status == "healthy"
        else ProbeResult(Health.WARNING, f"it calls itself {status[:40]}")
    )


def _of_store(outcome: Outcome) -> ProbeResult | None:
    if (bad := _of_transport(outcome)) is not None:
        return bad
    assert isinstance(outcome, Reply)
    if outcome.status == 200:
        return None
    return ProbeResult(
        Health.CRITICAL, f"its store does not answer: a session call says {outcome.status}"
    )


def _of_transport(outcome: Outcome) -> ProbeResult | None:
    if isinstance(outcome, Failure):
        hung = outcome.bytes_sent and outcome.cause is Cause.TIMEOUT
        note = "no answer in time" if hung else f"{outcome.cause}"
        return ProbeResult(Health.CRITICAL, note, hung=hung)
    # The server's own limit: it has more to do than it takes, which is not broken.
    if outcome.status == 503:
        return ProbeResult(Health.WARNING, "at its limit of concurrent requests")
    return None
