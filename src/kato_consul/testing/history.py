"""Exactly-once checker: compares the results that callers got with the events that KATO has.

As in Jepsen, a `History` records the start and the end of each call. Afterwards `check` uses only
the history and the final state. `read_session` reads that state from an instance with plain httpx,
without the client under test.

| a call that                                   | leaves its observation in KATO             |
| --------------------------------------------- | ------------------------------------------ |
| was acknowledged                              | once                                       |
| failed, and its error says "not applied"      | never (``sent`` False, or safe to resend)  |
| failed in any other way, or never ended       | at most once                               |

If one observation was acknowledged before another was sent, it comes before the other. Events are
identified by their symbols, so no two may be equal. Only observations are recorded: a session that
learns or is cleared needs a separate history for each stretch between.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

import httpx

from kato_consul.errors import KatoConsulError
from kato_consul.testing.kato.memory import STM_BOUND

MOST_FINDINGS = 20  # described in a report

Event = tuple[str, ...]


@dataclass(slots=True)
class Call:
    """One call: one observation, or several at once.

    ``invoked`` and ``ended`` are positions in the history; ``started`` and ``seconds`` are the time
    of the start (monotonic) and the duration. ``acknowledged`` is None while the call runs, and
    stays None if it never ends.
    """

    key: str
    events: tuple[Event, ...]
    invoked: int
    started: float
    ended: float = inf
    seconds: float = inf
    acknowledged: bool | None = None
    error: KatoConsulError | None = None

    @property
    def claims_not_applied(self) -> bool:
        """True if the error promises that the observation was not applied."""
        return self.error is not None and (
            self.error.sent is False or self.error.safe_to_resend is True
        )

    @property
    def unknown(self) -> bool:
        """True if the call's result does not say whether the observation was applied."""
        return not self.acknowledged and not self.claims_not_applied


class History:
    """The calls on sessions, by the caller's keys. Threads and tasks may share it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._position = itertools.count()
        self._event_counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def call(self, key: str, *events: Sequence[str]) -> Iterator[Call]:
        """Record the call in the block. A `KatoConsulError` is recorded and not raised further.

        Args:
            key: the session's key.
            events: the symbols of each observation that the call sends.

        Raises:
            ValueError: more than `STM_BOUND` events of one session, which KATO does not keep.
        """
        sorted_events = tuple(tuple(sorted(event)) for event in events)
        with self._lock:
            self._event_counts[key] += len(sorted_events)
            if self._event_counts[key] > STM_BOUND:  # lost events would not be detected
                raise ValueError(f"more than {STM_BOUND} events of {key!r} cannot be checked")
            call = Call(key, sorted_events, next(self._position), time.monotonic())
            self.calls.append(call)
        try:
            yield call
        except KatoConsulError as error:
            call.error = error
            call.acknowledged = False
            call.seconds = time.monotonic() - call.started
        else:
            call.acknowledged = True
            call.ended = next(self._position)
            call.seconds = time.monotonic() - call.started

    @property
    def keys(self) -> list[str]:
        """The keys of all sessions, in the order of their first call."""
        return list(self._event_counts)

    @property
    def acknowledged(self) -> int:
        """Number of observations acknowledged so far."""
        return sum(len(call.events) for call in tuple(self.calls) if call.acknowledged)

    @property
    def worst(self) -> Call | None:
        """The call that took longest; None before the first call has ended."""
        ended = [call for call in tuple(self.calls) if call.acknowledged is not None]
        return max(ended, key=lambda call: call.seconds, default=None)


@dataclass(frozen=True, slots=True)
class Final:
    """A session's final state in KATO: its counter ``time`` and its events ``stm``."""

    time: int
    stm: list[Event]


@dataclass(slots=True)
class HistoryReport:
    """The checker's result. All counts are of observations, except ``miscounted``.

    Attributes:
        acknowledged: acknowledged calls.
        failed: calls that failed and whose error says "not applied".
        unknown: calls whose outcome is unknown.
        lost: acknowledged and not in KATO.
        twice: surplus copies in KATO.
        out_of_order: sent after the end of a call whose event comes later in KATO.
        untrue: in KATO although the error says "not applied".
        foreign: in KATO although no call sent them.
        miscounted: sessions whose counter is not the number of their events.
        findings: descriptions of the first 20 findings.
    """

    acknowledged: int = 0
    failed: int = 0
    unknown: int = 0
    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    untrue: int = 0
    foreign: int = 0
    miscounted: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def consistent(self) -> bool:
        """True if KATO has what the results promise; calls may have failed."""
        return not (
            self.lost
            or self.twice
            or self.out_of_order
            or self.untrue
            or self.foreign
            or self.miscounted
        )

    @property
    def passed(self) -> bool:
        """True if 0 failed, 0 lost, 0 twice, 0 unknown, and some calls were acknowledged."""
        return self.consistent and not (self.failed or self.unknown) and self.acknowledged > 0

    def __str__(self) -> str:
        more = {
            "out of order": self.out_of_order,
            "untrue": self.untrue,
            "foreign": self.foreign,
            "miscounted": self.miscounted,
        }
        text = (
            f"{self.acknowledged:,} acknowledged: {self.failed} failed, {self.lost} lost, "
            f"{self.twice} twice, {self.unknown} unknown"
        )
        text += "".join(f", {count} {name}" for name, count in more.items() if count)
        return "\n  ".join([text, *self.findings])

    def add_finding(self, kind: str, subject: "Call | str") -> None:
        """Describe one finding, unless there are enough."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"{kind}: {subject}")


def read_session(url: str, session_id: str | None) -> Final | None:
    """Return the state of a session at the instance at ``url``; None if there is no such session.

    Args:
        url: base URL of the instance, without a trailing slash.
        session_id: KATO's id of the session; None returns None.

    Raises:
        httpx.HTTPError: the instance cannot be reached, or its status is not 200 or 404.
    """
    if session_id is None:
        return None
    path = f"{url}/sessions/{session_id}/cognition-data"
    with httpx.Client(trust_env=False, timeout=10.0) as http:
        response = http.get(path)
        if response.status_code == 404:
            return None
        data = response.raise_for_status().json()["cognition_data"]
    return Final(data["time"], [tuple(event) for event in data["short_term_memory"]])


def check(history: History, finals: Mapping[str, Final | None]) -> HistoryReport:
    """Compare a history with the final state of each of its sessions.

    Args:
        history: the recorded calls; all of them must have ended, or been cancelled.
        finals: by session key, the state that `read_session` returned.

    Raises:
        ValueError: two calls sent equal events, so that the result would prove nothing.
    """
    report = HistoryReport()
    calls: dict[str, list[Call]] = {}
    for call in history.calls:
        calls.setdefault(call.key, []).append(call)
    for key, of_session in calls.items():
        _check_session(report, key, of_session, finals[key] or Final(0, []))
    return report


def _check_session(report: HistoryReport, key: str, calls: Sequence[Call], final: Final) -> None:
    stored = Counter(final.stm)
    sent: dict[Event, Call] = {}
    for call in calls:
        size = len(call.events)
        if call.acknowledged:
            report.acknowledged += size
        elif call.unknown:
            report.unknown += size
            report.add_finding("unknown", call)
        else:
            report.failed += size
            report.add_finding("failed", call)
        for event in call.events:
            if event in sent:
                raise ValueError(
                    f"{event} was observed twice in {key!r}, which proves nothing; "
                    "give each observation a symbol of its own"
                )
            sent[event] = call
            if call.acknowledged and not stored[event]:
                report.lost += 1
                report.add_finding("lost", call)
            if call.claims_not_applied and stored[event]:
                report.untrue += 1
                report.add_finding("untrue", call)
            if stored[event] > 1:
                report.twice += stored[event] - 1
                report.add_finding("twice", call)
    for event in stored - Counter(sent.keys()):
        if event not in sent:
            report.foreign += stored[event]
            report.add_finding("foreign", f"{event} in {key}")
    if final.time != len(final.stm):
        report.miscounted += 1
        report.add_finding("miscounted", f"{key}: time {final.time}, {len(final.stm)} events")
    _check_order(report, [sent[event] for event in final.stm if event in sent])


def _check_order(report: HistoryReport, calls: Sequence[Call]) -> None:
    """Count calls that were sent after the end of a call whose event comes later in KATO."""
    earliest_end = inf
    for call in reversed(calls):
        if earliest_end < call.invoked:
            report.out_of_order += 1
            if report.out_of_order == 1:  # one misplaced event puts all calls before it here
                report.add_finding("out of order", call)
        earliest_end = min(earliest_end, call.ended)
