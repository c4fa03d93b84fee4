"""Checker of callers: compares what they were told with what KATO has in the end.

`kato_consul.testing.history` does the comparing. A caller without a client cannot know whether a
request that failed was applied, so each of these is an unknown outcome there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from kato_consul.testing.history import Call, Final, History, HistoryReport, check
from tests.callers.running import Caller, Record


@dataclass(slots=True)
class Tally:
    """What the callers of a run have seen, and what KATO has.

    Attributes:
        requests: all requests, also those that opened and read.
        failed: requests that were not answered 200.
        failures: these by how they failed.
        applied: failed observations that KATO has; if they were repeated, it would have them twice.
        slowest: seconds of the request that took longest.
        unread: acknowledged observations that the caller did not read in the end.
        report: the comparison with KATO's memories.
    """

    requests: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    applied: int = 0
    slowest: float = 0.0
    unread: int = 0
    report: HistoryReport = field(default_factory=HistoryReport)

    @property
    def passed(self) -> bool:
        """True if no request failed, and each observation is in KATO once, in order, and read."""
        return self.report.passed and not (self.failed or self.unread)

    def __str__(self) -> str:
        hows = ", ".join(f"{count} {how}" for how, count in self.failures.most_common())
        return (
            f"{self.requests:,} requests: {self.failed} failed{f' ({hows})' if hows else ''} "
            f"of which {self.applied} are applied, "
            f"{self.report.lost} lost, {self.report.twice} twice, {self.unread} unread, the "
            f"slowest took {self.slowest:.2f} s; {self.report}"
        )


def check_callers(callers: Iterable[Caller], read: Callable[[str], Final | None]) -> Tally:
    """Compare what callers were told with the sessions in the end.

    Args:
        callers: callers that have ended.
        read: returns the state of a session by the id that its caller was given.
    """
    tally = Tally()
    history = History()
    finals: dict[str, Final | None] = {}
    for caller in callers:
        records = caller.read()
        _count(tally, records)
        sessions = [one.body["session_id"] for one in records if "open" in one.what and one.body]
        final = finals[caller.node] = read(sessions[-1]) if sessions else None
        tally.applied += _applied(records, final)
        history.calls += calls(caller.node, records)
        tally.unread += _unread(records)
    tally.report = check(history, finals)
    return tally


def calls(key: str, records: Sequence[Record]) -> list[Call]:
    """Return a caller's observations, which it made one after the other, as calls of a history."""
    return [
        Call(
            key,
            events=((record.what["observe"],),),
            invoked=2 * position,
            started=record.began,
            ended=2 * position + 1 if record.acknowledged else float("inf"),
            seconds=record.ended - record.began,
            acknowledged=record.acknowledged,
        )
        for position, record in enumerate(records)
        if "observe" in record.what
    ]


def _count(tally: Tally, records: Sequence[Record]) -> None:
    for record in records:
        tally.requests += 1
        tally.slowest = max(tally.slowest, record.ended - record.began)
        if not record.acknowledged:
            tally.failed += 1
            tally.failures[record.failure] += 1


def _applied(records: Sequence[Record], final: Final | None) -> int:
    """Return the number of failed observations that the session has."""
    failed = [r.what["observe"] for r in records if "observe" in r.what and not r.acknowledged]
    return 0 if final is None else sum((symbol,) in final.stm for symbol in failed)


def _unread(records: Sequence[Record]) -> int:
    """Return the number of acknowledged observations that the caller's last read does not have. A
    read that failed is a failed request, and misses nothing.
    """
    seen = next((one.body["stm"] for one in records if "read" in one.what and one.body), None)
    observed = [[r.what["observe"]] for r in records if "observe" in r.what and r.acknowledged]
    return 0 if seen is None else sum(event not in seen for event in observed)
