"""The checker: compares what callers in several processes were told with what KATO has in the end.

| an observation whose call                      | is in KATO                                  |
| ---------------------------------------------- | ------------------------------------------- |
| was acknowledged                               | once: in the memory, or in one pattern      |
| says that it was not applied                   | never, unless a repetition applied it       |
| has no outcome, or died with its process       | at most once                                |

It comes after each observation that was acknowledged before its call began, of any process. So it
is with each memory that a caller read. A clear may have removed what was there, and only that.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.histories.calls import Event, Made

MOST_FINDINGS = 20

READS = "stm"
CLEARS = "clear_stm"
LEARNS = "learn"


@dataclass(frozen=True)
class Pattern:
    """A pattern that a session's node has learned."""

    name: str
    frequency: int
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Final:
    """A session in the end: the events of its memory, and the patterns, in the order of learning.

    ``read`` are the events that a client of its own has read.
    """

    memory: tuple[Event, ...]
    patterns: tuple[Pattern, ...]
    read: tuple[Event, ...]


@dataclass(frozen=True)
class Stop:
    """A time for which a process was stopped: it could not end a call."""

    process: str
    start: float
    end: float


@dataclass
class Observed:
    """One observation, in all calls that asked for it.

    ``invoked``: when the first of them began. ``acknowledged``: when the first of them returned.
    """

    event: Event
    invoked: float = inf
    acknowledged: float = inf
    denied: bool = True
    calls: list[Made] = field(default_factory=list)

    def add(self, call: Made, place: int) -> None:
        """Add a call that asks for it, at this place of its sequence."""
        self.calls.append(call)
        self.invoked = min(self.invoked, call.at)
        if call.ended is not None and (call.succeeded or place < call.ended.applied):
            self.acknowledged = min(self.acknowledged, call.ended.at)
        self.denied &= call.denied

    @property
    def certain(self) -> bool:
        """True if it was acknowledged."""
        return self.acknowledged < inf


@dataclass
class Report:
    """The checker's result: the figures of a run, and what is wrong in it."""

    observations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    repeated: int = 0
    late_learns: int = 0
    longest_wait: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def violated(self, kind: str, key: str, what: object) -> None:
        """Count a violation, and describe it unless there are many."""
        self.violations[kind] += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"{kind}: {key}: {what}")


def check(
    calls: Sequence[Made],
    finals: Mapping[str, Final],
    stops: Iterable[Stop] = (),
    *,
    margin: float = 10.0,
) -> Report:
    """Check the history of a run.

    Args:
        calls: the calls of all processes.
        finals: the sessions in the end, by key.
        stops: when processes were stopped.
        margin: seconds that a call may take after its deadline, on a busy machine.
    """
    report = Report()
    by_key: defaultdict[str, list[Made]] = defaultdict(list)
    stops_of: defaultdict[str, list[Stop]] = defaultdict(list)
    for stop in stops:
        stops_of[stop.process].append(stop)
    for call in calls:
        by_key[call.request.key].append(call)
        _check_end(report, call, stops_of[call.process], margin)
    for key, of_session in by_key.items():
        _Session(report, key, of_session, finals[key]).check()
    return report


def _check_end(report: Report, call: Made, stops: Sequence[Stop], margin: float) -> None:
    ended = call.ended
    if ended is None:
        return
    if ended.error:
        report.errors[ended.error] += 1
    if not ended.ours or ended.error == "SessionConflict":
        report.violated(f"raised {ended.error}", call.request.key, call)
    stopped = sum(max(0.0, min(ended.at, s.end) - max(call.at, s.start)) for s in stops)
    took = ended.at - call.at - stopped
    report.longest_wait = max(report.longest_wait, took)
    chunks = max(1, -(-len(call.request.events) // call.request.chunk))
    if took > chunks * call.deadline + margin:
        report.violated("beyond its deadline", call.request.key, call)


class _Session:
    """The check of one session."""

    def __init__(self, report: Report, key: str, calls: Sequence[Made], final: Final) -> None:
        self._report = report
        self._key = key
        self._calls = calls
        self._final = final
        self._observed: dict[Event, Observed] = {}
        for call in calls:
            for place, event in enumerate(call.request.events):
                self._observed.setdefault(event, Observed(event)).add(call, place)
        self._clears = [one for one in self._of(CLEARS) if not one.denied]
        self._learned = {event for one in final.patterns for event in one.events}

    def check(self) -> None:
        """Check all of it."""
        report, final = self._report, self._final
        for one in self._observed.values():
            report.observations += 1
            report.acknowledged += one.certain
            report.unknown += not (one.certain or one.denied)
        if final.read != final.memory:
            self._violated("read differs", f"{final.read} instead of {final.memory}")
        stored = [event for part in self._parts() for event in part]
        self._check_stored(stored, inf, inf, set())
        self._check_learned()
        self._check_clears()
        for call in self._of(READS):
            if call.succeeded and call.ended is not None:
                read = [tuple(event) for event in call.ended.answer]
                self._check_stored(read, call.at, call.ended.at, self._learned)
        self._check_repeated()

    def _of(self, method: str) -> Iterator[Made]:
        return (call for call in self._calls if call.request.method == method)

    def _violated(self, kind: str, what: object) -> None:
        self._report.violated(kind, self._key, what)

    def _parts(self) -> list[tuple[Event, ...]]:
        """Return the patterns and the memory, without the patterns of late learns.

        A learn without an outcome may be applied although its memory goes on: so each may have
        learned one pattern with which another, or the memory, begins.
        """
        parts = [*(one.events for one in self._final.patterns), self._final.memory]
        kept, late = [], 0
        for number, part in enumerate(parts[:-1]):
            others = parts[:number] + parts[number + 1 :]
            if any(other[: len(part)] == part for other in others):
                late += 1
            else:
                kept.append(part)
        self._report.late_learns += late
        if late > sum(call.unknown for call in self._of(LEARNS)):
            self._violated("learned twice", f"{late} patterns are also the beginning of another")
        return [*kept, parts[-1]]

    def _check_stored(
        self,
        stored: Sequence[Event],
        before: float,
        until: float,
        elsewhere: set[Event],
    ) -> None:
        """Check what was read between ``before`` and ``until``. What is ``elsewhere`` may lack."""
        counts = Counter(stored)
        where = "" if before == inf else " in a read"
        for one in self._observed.values():
            count = counts.pop(one.event, 0)
            if count > 1:
                self._violated(f"twice{where}", one)
            if count and one.denied:
                self._violated(f"there although denied{where}", one)
            lacks = not count and one.acknowledged < before and one.event not in elsewhere
            if lacks and not self._may_be_cleared(one, until):
                self._violated(f"lost{where}", one)
        for event in counts:
            self._violated(f"foreign{where}", event)
        self._check_order([self._observed[one] for one in stored if one in self._observed], where)

    def _may_be_cleared(self, one: Observed, until: float) -> bool:
        return any(call.over > one.invoked and call.at < until for call in self._clears)

    def _check_order(self, stored: Sequence[Observed], where: str) -> None:
        earliest = inf
        later: Observed | None = None
        for one in reversed(stored):
            if earliest < one.invoked:
                self._violated(f"out of order{where}", f"{one}, before {later}")
                break  # one that is misplaced has all before it here
            if one.acknowledged < earliest:
                earliest, later = one.acknowledged, one
        places = {one.event: place for place, one in enumerate(stored)}
        for call in self._calls:
            of_call = [places[event] for event in call.request.events if event in places]
            if of_call != sorted(of_call):
                self._violated(f"sequence out of order{where}", call)

    def _check_learned(self) -> None:
        names = {f"PTRN|{one.name}" for one in self._final.patterns}
        in_memory = [self._observed[one] for one in self._final.memory if one in self._observed]
        for one in self._final.patterns:
            if one.frequency != 1:
                self._violated("learned twice", one)
        for call in self._of(LEARNS):
            if not call.succeeded or call.ended is None:
                continue
            if call.ended.answer["pattern_name"] not in names:
                self._violated("not learned", call)
            for observed in in_memory:
                if observed.acknowledged < call.at and not self._is_repeated(call):
                    self._violated("not learned", f"{observed}, by {call}")

    def _check_clears(self) -> None:
        for call in self._clears:
            for event in self._final.memory:
                observed = self._observed.get(event)
                if call.succeeded and observed is not None and observed.acknowledged < call.at:
                    self._violated("not cleared", f"{observed}, by {call}")

    def _is_repeated(self, call: Made) -> bool:
        """Return whether it may have been made before, so that its own time says nothing."""
        key = call.request.idempotency_key
        return key is not None and any(
            other is not call and other.request.idempotency_key == key for other in self._calls
        )

    def _check_repeated(self) -> None:
        answers: defaultdict[str, list[Made]] = defaultdict(list)
        for call in self._calls:
            if call.request.idempotency_key is not None:
                answers[call.request.idempotency_key].append(call)
        for same in answers.values():
            self._report.repeated += len(same) - 1
            succeeded = [one for one in same if one.succeeded]
            for one in succeeded[1:]:
                if _core(one) != _core(succeeded[0]):
                    self._violated("answered differently", f"{one}, {succeeded[0]}")


COMPARED = ("stm_length", "time", "observations_processed", "final_stm_length", "pattern_name")
"""What answers to the same call have in common. The rest is KATO's, and is lost with its answer."""


def _core(call: Made) -> dict[str, object]:
    assert call.ended is not None
    return {name: call.ended.answer.get(name) for name in COMPARED}
