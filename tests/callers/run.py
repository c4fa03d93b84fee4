"""Callers that know nothing, through each way to KATO, under the same disturbances.

python -m tests.callers.run [--through proxy,nginx,haproxy,envoy] [--observations N] [--seed N]

curl, `requests` and Node's fetch, all without retries, observe at the same time through what stands
in front of three instances. Meanwhile instances are killed, stopped for 3 to 5 s, stopped and then
killed, and restarted in an orderly way, and so is the front. Then the memories are
compared with what the callers were told. Prints a table; the exit status is 1 if a way through the
proxy has not kept what it promises.
"""

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kato_consul.testing import Fleet
from kato_consul.testing.history import Final, read_session
from tests.callers.checking import Tally, check_callers
from tests.callers.disturbing import Disturbances, RegisteredInstances
from tests.callers.fronts import WAYS, Front, Way, front_of
from tests.callers.running import PROGRAMS, Callers
from tests.faults.site import Site as FaultSite

EACH = 350
"""Observations of a caller, at most `kato_consul.testing.kato.memory.STM_BOUND`."""

PAUSE = 0.05
"""Seconds between two requests of a caller: 350 take about a minute."""

SLOW = 0.01
"""Seconds between an instance's reading of a session and its writing back: about KATO's own."""

LONGEST_RUN = 900.0
"""Seconds after which a run counts as hung."""

POLL = 0.1


@dataclass
class Result:
    """What a run has shown. ``failed`` describes what went wrong beside the callers' requests."""

    way: Way
    tally: Tally
    disturbances: Counter[str]
    timeline: list[tuple[float, str]]
    seconds: float
    failed: list[str]
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether what the way promises was kept."""
        if self.failed:
            return False
        if self.way.must_not_fail:
            return self.tally.passed
        return not self.way.must_not_lose or self.tally.report.consistent

    def __str__(self) -> str:
        done = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.disturbances.items()))
        lines = [f"{self.way.title}, {self.seconds:.0f} s: {self.tally}", done, *self.failed]
        return "\n  ".join(lines)


def run(
    way: Way,
    folder: Path,
    *,
    seed: int,
    callers: int = 4,
    each: int = EACH,
    pause: float = PAUSE,
    interval: str = "1s",
) -> Result:
    """Carry out a run.

    Args:
        way: the way from the callers to KATO.
        folder: folder for records and logs.
        seed: of the disturbances.
        callers: callers of each language.
        each: observations of each caller.
        pause: seconds between two requests of a caller.
        interval: of the instances' health checks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Fleet(3, interval=interval) as fleet, ExitStack() as opened:
        for one in fleet.instances.values():
            one.switch(slow=SLOW)
        instances = opened.enter_context(RegisteredInstances(fleet))
        front = opened.enter_context(front_of(way, fleet, folder))
        disturbances = Disturbances(instances, front, seed)
        started = time.monotonic()
        languages = [*PROGRAMS] * callers
        with Callers(front.url, folder, languages=languages, count=each, pause=pause) as group:
            with disturbances:
                _wait(group, disturbances)
            group.wait(LONGEST_RUN)
        seconds = time.monotonic() - started
        tally = check_callers(group.all, lambda session: _read(way, front, fleet, session))
    failed = [f"{type(error).__name__}: {error}" for error in disturbances.errors]
    if disturbances.missing:
        failed.append(f"the callers ended before this was done: {disturbances.missing}")
    failed += _tracebacks(front.logs)
    failures = [
        {"caller": one.node, "what": record.what, "how": record.failure}
        | {"began": record.began, "ended": record.ended}
        for one in group.all
        for record in one.read()
        if not record.acknowledged
    ]
    counts, timeline = disturbances.counts, disturbances.timeline
    return Result(way, tally, counts, timeline, seconds, failed, failures)


def _wait(group: Callers, disturbances: Disturbances) -> None:
    """Return when all callers have ended, or a disturbance could not be carried out."""
    until = time.monotonic() + LONGEST_RUN
    while any(one.process.poll() is None for one in group.all):
        if disturbances.errors or time.monotonic() > until:
            return
        time.sleep(POLL)


def _read(way: Way, front: Front, fleet: Fleet, session_id: str) -> Final | None:
    """Return the state of a session: through the proxy, whose id it is, or at an instance."""
    if way.directory:
        return read_session(front.url, session_id)
    for instance in fleet.instances.values():
        FaultSite.wait_for_late_writes([session_id], instance)
    return read_session(next(iter(fleet.instances.values())).url, session_id)


def _tracebacks(logs: Sequence[Path]) -> list[str]:
    """Return the logs with an exception that nothing has handled."""
    texts = {log.name: log.read_text() for log in logs}
    return [
        f"{name} has a traceback:\n{text[-3_000:]}"
        for name, text in texts.items()
        if "Traceback" in text
    ]


COLUMNS = ("through", "requests", "failed", "of which applied", "lost", "twice", "slowest")
DISTURBED = ("instance", "front")


def table(results: Sequence[Result]) -> str:
    """Return the results as a table of Markdown."""
    columns = (*COLUMNS, *DISTURBED)
    rows = [columns, ("---",) * len(columns)]
    for one in results:
        tally = one.tally
        done = [_done(one.disturbances, subject) for subject in DISTURBED]
        report = tally.report
        counts = (tally.requests, tally.failed, tally.applied, report.lost, report.twice)
        figures = [f"{count:,}" for count in counts]
        rows.append((one.way.title, *figures, f"{tally.slowest:.1f} s", *done))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _done(disturbances: Counter[str], subject: str) -> str:
    """Return what was done to a subject, and how often."""
    return ", ".join(
        f"{count} {kind.partition(' ')[2]}"
        for kind, count in disturbances.most_common()
        if kind.startswith(subject)
    )


def as_json(result: Result) -> Mapping[str, object]:
    """Return a result for programs, with the requests that failed."""
    tally, report = result.tally, result.tally.report
    return {
        "through": result.way.title,
        "kept": result.kept,
        "requests": tally.requests,
        "acknowledged": report.acknowledged,
        "failed": tally.failed,
        "how": tally.failures,
        "applied": tally.applied,
        "lost": report.lost,
        "twice": report.twice,
        "unread": tally.unread,
        "slowest": tally.slowest,
        "seconds": result.seconds,
        "disturbances": result.disturbances,
        "findings": report.findings,
        "wrong": result.failed,
        "failures": result.failures,
        "timeline": result.timeline,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.callers.run", description=__doc__)
    parser.add_argument("--through", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--observations", type=int, default=4_200, help="of each way")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="keeps the records and the logs")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    unknown = set(given.through.split(",")) - set(WAYS)
    if unknown:
        parser.error(f"--through may have {', '.join(WAYS)}, not {', '.join(sorted(unknown))}")
    callers = max(1, round(given.observations / EACH / len(PROGRAMS)))
    results = []
    with tempfile.TemporaryDirectory(prefix="kato-callers-") as temporary:
        for name in given.through.split(","):
            folder = (given.folder or Path(temporary)) / name
            print(f"{name}, seed {seed} …", file=sys.stderr, flush=True)  # noqa: T201
            results.append(run(WAYS[name], folder, seed=seed, callers=callers))
            print(f"  {results[-1]}", file=sys.stderr, flush=True)  # noqa: T201
    printed = json.dumps([*map(as_json, results)], indent=1) if given.json else table(results)
    print(printed, flush=True)  # noqa: T201
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
