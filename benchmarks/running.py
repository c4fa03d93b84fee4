"""One run of the benchmark: rows, in rounds, so that all stand in the same weather."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from benchmarks import growth, imports, killed, memory, own, registered
from benchmarks.calls import Calls
from benchmarks.figures import Figure
from benchmarks.growth import Curve
from benchmarks.site import Site, site

ROWS = {
    "many": "async calls, 32 in flight, with all peers; what is ours in a call",
    "one": "async calls, one in flight",
    "sync": "sync calls, the seed's way, KATO's client's way",
    "own": "picks, snapshots, calls without a wire",
    "memory": "memory of a session",
    "registered": "from registering until a client uses it",
    "killed": "an instance killed under load",
    "import": "what imports take",
    "growth": "how cost grows: instances, sessions, calls in flight",
}
WITH_SITE = {"many", "one", "sync", "registered", "growth"}


@dataclass
class Results:
    """What came of a run."""

    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "figures": [one.as_json() for one in self.figures],
            "growth": [asdict(one) for one in self.curves],
        }


@dataclass(frozen=True)
class Run:
    """What to measure: which rows, how often, and how long each time (seconds)."""

    rows: set[str]
    rounds: int
    seconds: float
    sessions: int
    say: Callable[[str], None]

    def results(self) -> Results:
        """Measure it."""
        found = Results()
        if self.rows & WITH_SITE:
            self.say("starting a Consul agent and three answering servers")
            with site() as where:
                self._on_site(where, found)
        if "own" in self.rows:
            found.figures += own.figures(self.rounds, self.say)
        if "memory" in self.rows:
            found.figures.append(self._memory())
        if "killed" in self.rows:
            found.figures += killed.figures(self.rounds, self.say)
        if "import" in self.rows:
            self.say("imports")
            found.figures += imports.figures(self.rounds)
        return found

    def _on_site(self, where: Site, found: Results) -> None:
        calls = Calls(where, self.seconds)
        for number in range(1, self.rounds + 1):

            def say(what: str, number: int = number) -> None:
                self.say(f"round {number} of {self.rounds}: {what}")

            if "many" in self.rows:
                calls.round_of_many(say)
            if "one" in self.rows:
                calls.round_of_one(say)
            if "sync" in self.rows:
                calls.round_of_sync(say)
        if "many" in self.rows:
            found.figures += calls.figures_of_many()
        if "one" in self.rows:
            found.figures += calls.figures_of_one()
        if "sync" in self.rows:
            found.figures += calls.figures_of_sync()
        if "registered" in self.rows:
            self.say("registering instances")
            found.figures += registered.figures(where, self.rounds)
        if "growth" in self.rows:
            rounds = min(3, self.rounds)
            found.curves += growth.by_calls_in_flight(where, rounds, self.say)
            found.curves += growth.by_instances(rounds, self.say)
            found.curves += growth.by_sessions(self.say)

    def _memory(self) -> Figure:
        self.say(f"{self.sessions:,} sessions")
        took = memory.measured(self.sessions)
        name = f"memory of a session, of {self.sessions:,}"
        values = [] if took is None else [took]
        return Figure(name, "bytes", values, at_most=1_024, why_not="no /proc/self/statm here")
