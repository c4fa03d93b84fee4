"""A run of several processes that share sessions, under all disturbances, and its check.

    python -m tests.histories.run --directory redis --shell async --observations 5000 [--seed N]

Four processes with four callers each use ten sessions on three instances. Processes are killed,
stopped for longer than a lease, cut off from the directory, and replaced; instances are killed and
stopped; the directory is away for 10 s. All of it is chosen by the seed, and at the same time. In
the end the disturbances stop, a client of its own reads each session, and the checker compares. The
exit status is 0 only if nothing is violated.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kato_consul import KatoClient
from kato_consul.testing.fleet import STORE
from kato_consul.testing.history import read_session
from kato_consul.testing.kato.knowledge import Knowledge, kb_name
from kato_consul.testing.kato.store import Store
from tests.faults.site import Site as FaultSite
from tests.histories.calls import Event
from tests.histories.check import Final, Pattern, Report, check
from tests.histories.disturbing import Disturbances
from tests.histories.group import Group
from tests.histories.site import Site, running

PROCESSES, CALLERS, KEYS = 4, 4, 10

LONGEST_RUN = 900.0
"""Seconds until a run ends although it has fewer observations."""

READERS = 4
"""Clients that read sessions in the end, at the same time."""

POLL = 1.0
"""Seconds between two looks at the histories."""


@dataclass(frozen=True)
class Plan:
    """A run: how many observations at least, and how dense the disturbances are.

    ``pace``: seconds between two disturbances of a kind. ``away``: seconds for which the directory
    is away. The run goes on until each kind of disturbance has occurred.
    """

    directory: str
    shell: str
    seed: int
    observations: int = 5_000
    pace: float = 3.0
    away: float = 10.0


@dataclass
class Result:
    """What a run has shown. ``handovers`` are all acquisitions but takeovers and the first ones."""

    plan: Plan
    report: Report
    disturbances: Counter[str]
    failed: Sequence[str]
    takeovers: int
    handovers: int
    seconds: float

    @property
    def passed(self) -> bool:
        """True if nothing is violated, and no process has failed."""
        return not (self.report.violations or self.failed) and self.report.acknowledged > 0

    def __str__(self) -> str:
        report, plan = self.report, self.plan
        wrong = Counter({"lost": 0, "twice": 0, **report.violations})
        lines = [
            f"{plan.directory}, {plan.shell}, seed {plan.seed}: {report.observations:,} "
            f"observations in {self.seconds:.0f} s: {report.acknowledged:,} acknowledged, "
            f"{report.unknown} unknown, "
            + ", ".join(f"{count} {kind}" for kind, count in wrong.items()),
            f"{self.takeovers} takeovers, {self.handovers:,} hand-overs, {report.repeated} repeats",
            f"{report.late_learns} late learns; the longest wait took {report.longest_wait:.1f} s",
            ", ".join(f"{count} × {kind}" for kind, count in sorted(self.disturbances.items())),
            "errors: " + ", ".join(f"{n} {name}" for name, n in report.errors.most_common()),
            *report.findings,
            *self.failed,
        ]
        return "\n  ".join(lines)


def run(plan: Plan, folder: Path | None = None) -> Result:
    """Carry out a run; its files are in the folder, or are removed."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="kato-histories-") as temporary:
            return run(plan, Path(temporary))
    with running(plan.directory) as site:
        group = Group(site, folder, plan.shell, plan.seed, callers=CALLERS, keys=KEYS)
        started = time.monotonic()
        disturbances = Disturbances(site, group, plan.seed, plan.pace, plan.away)
        try:
            for slot in range(PROCESSES):
                group.start(slot)
            with disturbances:
                _work(plan, group, disturbances)
            group.end_all()
        finally:
            group.kill_all()
        seconds = time.monotonic() - started
        calls = group.calls()
        finals, epochs = _read_all(site, sorted({call.request.key for call in calls}))
    newest: dict[tuple[str, str], int] = {}
    for call in calls:
        if call.ended is not None:
            place = call.process, call.request.key
            newest[place] = max(newest.get(place, 0), call.ended.takeovers)
    takeovers = sum(newest.values())
    failed = [*group.failed, *_tracebacks(group.logs()), *_left_behind(folder)]
    return Result(
        plan,
        check(calls, finals, disturbances.stops),
        disturbances.counts,
        failed,
        takeovers,
        sum(epochs) - len(epochs) - takeovers,
        seconds,
    )


def _work(plan: Plan, group: Group, disturbances: Disturbances) -> None:
    """Return when there are enough observations, and each disturbance has occurred."""
    until = time.monotonic() + LONGEST_RUN
    while time.monotonic() < until and not disturbances.errors:
        observed = {event for call in group.calls() for event in call.request.events}
        if len(observed) >= plan.observations and disturbances.complete:
            return
        time.sleep(POLL)


def _read_all(site: Site, keys: Sequence[str]) -> tuple[dict[str, Final], list[int]]:
    """Read each session with a client of its own, and at an instance. Return them, and the epochs
    of the sessions: how often each was acquired."""

    def read(key: str) -> tuple[str | None, tuple[Event, ...], int]:
        with KatoClient(site.settings) as kato:
            session = kato.session(key)
            events = tuple(map(tuple, session.stm()))
            return session.id, events, session.facts.epoch

    with ThreadPoolExecutor(READERS) as threads:
        sessions = dict(zip(keys, threads.map(read, keys), strict=True))
    ids = [session_id for session_id, _, _ in sessions.values()]
    for instance in site.instances:
        FaultSite.wait_for_late_writes(ids, instance)
    finals = {}
    with closing(Store(site.fleet.folder / STORE)) as store:
        knowledge = Knowledge(store)
        for key, (session_id, events, _) in sessions.items():
            found = read_session(site.instances[0].url, session_id)
            patterns = tuple(
                Pattern(one.name, one.frequency, tuple(map(tuple, one.events)))
                for one in knowledge.patterns(kb_name(key, "kato"))
            )
            finals[key] = Final(tuple(found.stm) if found else (), patterns, events)
    return finals, [epoch for _, _, epoch in sessions.values()]


def _tracebacks(logs: Mapping[str, str]) -> list[str]:
    """Return the logs with an exception that nothing has handled."""
    return [
        f"{name} logged a traceback:\n{text[-3_000:]}"
        for name, text in logs.items()
        if "Traceback" in text
    ]


def _left_behind(folder: Path) -> list[str]:
    """Return the processes of the run that still live."""
    left = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:  # it has just ended
            continue
        if b"caller_process" in command and str(folder).encode() in command:
            left.append(f"process {process.parent.name} is left behind: {command[-200:]!r}")
    return left


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories.run", description=__doc__)
    parser.add_argument("--directory", choices=["consul", "redis"], default="consul")
    parser.add_argument("--shell", choices=["sync", "async"], default="sync")
    parser.add_argument("--observations", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="keeps the histories")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    plan = Plan(given.directory, given.shell, seed, given.observations)
    if given.folder is not None:
        given.folder.mkdir(parents=True)
    result = run(plan, given.folder)
    print(result, flush=True)  # noqa: T201
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
