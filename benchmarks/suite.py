"""The benchmark suite: its rows, and a run of some of them in rounds.

Within a round all clients are measured one after the other, so noise affects all of them alike.
"""

from dataclasses import asdict, dataclass, field

from benchmarks import scaling
from benchmarks.clients.comparison import Comparison
from benchmarks.figures import Figure, Progress
from benchmarks.in_process import cpu_costs, imports, memory
from benchmarks.scaling import Curve
from benchmarks.scenarios import instance_kill, proxy, registration, shared_sessions
from benchmarks.testbed.processes import Testbed, start_testbed

ROWS = {
    "concurrent": "async calls, 32 in flight, all clients; what kato-consul adds to a call",
    "sequential": "async calls, one in flight",
    "sync": "sync calls, a Consul lookup per call, KATO's sample client",
    "in-process": "picks, snapshots, calls without a network",
    "memory": "memory of a session",
    "registration": "from a registration until a client uses the instance",
    "kill": "an instance killed under load",
    "shared": "sessions shared by several processes, over Consul and over Redis",
    "proxy": "calls through kato-consul proxy, and through nginx that only passes on",
    "import": "import time",
    "scaling": "how costs grow: instances, sessions, calls in flight",
}
NEED_TESTBED = {"concurrent", "sequential", "sync", "registration", "proxy", "scaling"}


@dataclass
class Results:
    """The figures and curves of a run."""

    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return all values for a JSON document."""
        return {
            "figures": [figure.as_json() for figure in self.figures],
            "scaling": [asdict(curve) for curve in self.curves],
        }


@dataclass(frozen=True)
class Run:
    """What to measure: the rows, the rounds, the seconds per measurement, and how many sessions."""

    rows: set[str]
    rounds: int
    seconds: float
    sessions: int
    progress: Progress

    def measure(self) -> Results:
        """Measure all rows of the run."""
        results = Results()
        if self.rows & NEED_TESTBED:
            self.progress("starting a Consul agent and three test servers")
            with start_testbed() as testbed:
                self._measure_on(testbed, results)
        if "in-process" in self.rows:
            results.figures += cpu_costs.figures(self.rounds, self.progress)
        if "memory" in self.rows:
            results.figures += [self._memory(), self._memory(shared=True)]
        if "kill" in self.rows:
            results.figures += instance_kill.figures(self.rounds, self.progress)
        if "shared" in self.rows:
            results.figures += shared_sessions.figures(min(3, self.rounds), self.progress)
        if "import" in self.rows:
            self.progress("imports")
            results.figures += imports.figures(self.rounds)
        return results

    def _measure_on(self, testbed: Testbed, results: Results) -> None:
        comparison = Comparison(testbed, self.seconds)
        for number in range(1, self.rounds + 1):

            def progress(line: str, number: int = number) -> None:
                self.progress(f"round {number} of {self.rounds}: {line}")

            if "concurrent" in self.rows:
                comparison.run_concurrent_round(progress)
            if "sequential" in self.rows:
                comparison.run_sequential_round(progress)
            if "sync" in self.rows:
                comparison.run_sync_round(progress)
        if "concurrent" in self.rows:
            results.figures += comparison.concurrent_figures()
        if "sequential" in self.rows:
            results.figures += comparison.sequential_figures()
        if "sync" in self.rows:
            results.figures += comparison.sync_figures()
        if "registration" in self.rows:
            self.progress("registering instances")
            results.figures += registration.figures(testbed, self.rounds)
        if "proxy" in self.rows:
            results.figures += proxy.figures(testbed, self.rounds, self.seconds, self.progress)
        if "scaling" in self.rows:
            rounds = min(3, self.rounds)
            results.curves += scaling.by_calls_in_flight(testbed, rounds, self.progress)
            results.curves += scaling.by_instances(rounds, self.progress)
            results.curves += scaling.by_sessions(self.progress)

    def _memory(self, *, shared: bool = False) -> Figure:
        name = f"memory of {'an owned' if shared else 'a'} session, of {self.sessions:,}"
        self.progress(name)
        size = memory.measure(self.sessions, shared=shared)
        values = [] if size is None else [size]
        goal = None if shared else 1_024
        return Figure(name, "bytes", values, at_most=goal, not_measured="no /proc/self/statm here")
