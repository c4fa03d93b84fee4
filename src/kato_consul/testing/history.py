"""What callers were told, compared with what KATO has: exactly once, or who lied?

In the manner of Jepsen: a `History` records each call when it is made and when it ends; afterwards
`check` reads nothing but the history and the final state, which `read_session` asks of an instance
with plain httpx, past the client that is judged.

| a call that                           | must leave its observation there           |
| ------------------------------------- | ------------------------------------------ |
| was acknowledged                      | once                                       |
| failed, and said that nothing happened | not at all (``sent`` False, or safe to resend) |
| failed in any other way, or never ended | at most once                              |

An observation that was acknowledged before another one was made comes before it. Events are known
by their symbols, so no two may be alike, and only observations are recorded: a session that learns
or is cleared needs a history of its own for each stretch between.
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

BOUND = 1_000
"""Events that KATO keeps of a session; of a longer one nobody can tell what was lost."""

Event = tuple[str, ...]


@dataclass(slots=True)
class Call:
    """One observation, or several at once. ``invoked`` and ``ended`` are places in the history.

    ``acknowledged`` is None while it runs, and for good when it never ended.
    """

    key: str
    events: tuple[Event, ...]
    invoked: int
    began: float
    ended: float = inf
    seconds: float = inf
    acknowledged: bool | None = None
    error: KatoConsulError | None = None

    @property
    def says_nothing_happened(self) -> bool:
        """Does its error promise that the observation is not there?"""
        return self.error is not None and (
            self.error.sent is False or self.error.safe_to_resend is True
        )

    @property
    def unknown(self) -> bool:
        """Does nobody know, by what the call said?"""
        return not self.acknowledged and not self.says_nothing_happened


class History:
    """Calls on sessions, by the caller's keys. Threads and tasks may share it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._place = itertools.count()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def call(self, key: str, *events: Sequence[str]) -> Iterator[Call]:
        """Around one call that observes ``events``. Errors of ours are recorded, and go no further.

        Raises:
            ValueError: KATO does not keep that many events of one session.
        """
        made = tuple(tuple(sorted(event)) for event in events)
        with self._lock:
            self._seen[key] += len(made)
            if self._seen[key] > BOUND:
                raise ValueError(f"more than {BOUND} events of {key!r} cannot be checked")
            call = Call(key, made, next(self._place), time.monotonic())
            self.calls.append(call)
        try:
            yield call
        except KatoConsulError as error:
            call.error = error
            call.acknowledged = False
            call.seconds = time.monotonic() - call.began
        else:
            call.acknowledged = True
            call.ended = next(self._place)
            call.seconds = time.monotonic() - call.began

    @property
    def keys(self) -> list[str]:
        """All sessions there were, in the order they came."""
        return list(self._seen)

    @property
    def acknowledged(self) -> int:
        """Observations acknowledged so far."""
        return sum(len(call.events) for call in tuple(self.calls) if call.acknowledged)

    @property
    def worst(self) -> Call | None:
        """The call that took longest."""
        ended = [call for call in tuple(self.calls) if call.acknowledged is not None]
        return max(ended, key=lambda call: call.seconds, default=None)


@dataclass(frozen=True, slots=True)
class Final:
    """What KATO has of a session in the end: its counter and its events."""

    time: int
    stm: list[Event]


@dataclass(slots=True)
class HistoryReport:
    """Counts of observations, but for ``miscounted``: sessions whose counter is not that of their
    events. ``untrue``: the error said that nothing happened, and something had. ``foreign``: events
    that nobody made. ``findings`` says more about the first of them.
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
    def kept(self) -> bool:
        """Was every promise kept, whatever failed?"""
        return not (
            self.lost
            or self.twice
            or self.out_of_order
            or self.untrue
            or self.foreign
            or self.miscounted
        )

    @property
    def good(self) -> bool:
        """Kept, and nothing failed or stayed unknown: 0 failed, 0 lost, 0 twice, 0 unknown."""
        return self.kept and not (self.failed or self.unknown) and self.acknowledged > 0

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

    def found(self, what: str, call_or_key: "Call | str") -> None:
        """One more finding, in words."""
        if len(self.findings) < 20:
            self.findings.append(f"{what}: {call_or_key}")


def read_session(url: str, session_id: str | None) -> Final | None:
    """What the instance at ``url`` has of a session; None when it has none.

    Raises:
        httpx.HTTPError: it does not say.
    """
    if session_id is None:
        return None
    path = f"{url}/sessions/{session_id}/cognition-data"
    with httpx.Client(trust_env=False, timeout=10.0) as http:
        answer = http.get(path)
        if answer.status_code == 404:
            return None
        data = answer.raise_for_status().json()["cognition_data"]
    return Final(data["time"], [tuple(event) for event in data["short_term_memory"]])


def check(history: History, finals: Mapping[str, Final | None]) -> HistoryReport:
    """The verdict on a history, by what KATO has of each of its sessions in the end."""
    verdict = HistoryReport()
    calls: dict[str, list[Call]] = {}
    for call in history.calls:
        calls.setdefault(call.key, []).append(call)
    for key, of_session in calls.items():
        _check_session(verdict, key, of_session, finals[key] or Final(0, []))
    return verdict


def _check_session(verdict: HistoryReport, key: str, calls: Sequence[Call], final: Final) -> None:
    there = Counter(final.stm)
    made: dict[Event, Call] = {}
    for call in calls:
        size = len(call.events)
        if call.acknowledged:
            verdict.acknowledged += size
        elif call.unknown:
            verdict.unknown += size
            verdict.found("unknown", call)
        else:
            verdict.failed += size
            verdict.found("failed", call)
        for event in call.events:
            if event in made:
                raise ValueError(f"{event} was observed twice in {key!r}: it proves nothing")
            made[event] = call
            if call.acknowledged and not there[event]:
                verdict.lost += 1
                verdict.found("lost", call)
            if call.says_nothing_happened and there[event]:
                verdict.untrue += 1
                verdict.found("untrue", call)
            if there[event] > 1:
                verdict.twice += there[event] - 1
                verdict.found("twice", call)
    for event in there - Counter(made.keys()):
        if event not in made:
            verdict.foreign += there[event]
            verdict.found("foreign", f"{event} in {key}")
    if final.time != len(final.stm):
        verdict.miscounted += 1
        verdict.found("miscounted", f"{key}: time {final.time}, {len(final.stm)} events")
    _check_order(verdict, [made[event] for event in final.stm if event in made])


def _check_order(verdict: HistoryReport, calls: Sequence[Call]) -> None:
    """None that stands behind another may have ended before that one was made."""
    earliest_end = inf
    for call in reversed(calls):
        if earliest_end < call.invoked:
            verdict.out_of_order += 1
            if verdict.out_of_order == 1:  # all that stand before the same one are found with it
                verdict.found("out of order", call)
        earliest_end = min(earliest_end, call.ended)
