"""Long test runs with new seeds: the property tests, the model of session ownership, generated
requests and responses, soaks, histories of several processes, callers through the proxy, large
fault cells, the whole demo.

    python -m tests.hunt --seconds 600 [--seed N]

Runs one after the other and starts again until the time is over. A run that was started is
finished. The first failure ends the hunt and prints the command that repeats the run. Each run has
a seed of its own: a random one, or the next number from ``--seed`` on.
"""

import argparse
import itertools
import os
import random
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.callers.fronts import WAYS
from tests.faults.cells import CELLS

FEWEST_RUNS, MOST_RUNS = 200, 2_000
"""Limits of the property tests' size: two runs of 60 steps for each second; 200 take 5 s. Those of
two owners have half as many: each takes twice as long. Also of the number of responses that are
generated for each test of them."""

FEWEST_OBSERVATIONS, MOST_OBSERVATIONS = 240, 1_000
"""Limits of a fault cell's observations, on each shell and engine: three for each second."""

FEWEST_STATES, MOST_STATES = 100_000, 1_000_000
"""Limits of the model's search: 1,000 states for each second of the hunt. 100,000 take some 10 s
and 100 MB."""

FEWEST_SHARED, MOST_SHARED = 300, 5_000
"""Limits of the observations of several processes: three for each second. They take some 30 s for
each 1,000."""

SOAK_SHARE, SHORTEST_SOAK, LONGEST_SOAK = 1 / 8, 10.0, 300.0
"""A soak takes this share of the hunt's seconds, within these limits."""


@dataclass(frozen=True)
class Program:
    """A Python program to run: its arguments, and additions to the environment."""

    name: str
    arguments: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that repeats it."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return shlex.join([*variables, sys.executable, *self.arguments])

    def run(self) -> bool:
        """Run the program, print its output if it fails, and return whether it succeeded."""
        done = subprocess.run(
            [sys.executable, *self.arguments],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            print_line(done.stdout)
        return done.returncode == 0


def settling(seed: int, runs: int) -> Program:
    """Return the property test of the session flow."""
    environment = {"KATO_CONSUL_SEED": str(seed), "KATO_CONSUL_SETTLING_RUNS": str(runs)}
    return Program(
        "settling", ["-m", "pytest", "tests/kato/test_settling_property.py"], environment
    )


def owners(seed: int, runs: int) -> Program:
    """Return the property tests of two owners of a session, and of their repeated calls."""
    environment = {"KATO_CONSUL_SEED": str(seed), "KATO_CONSUL_SETTLING_RUNS": str(runs)}
    files = ["tests/owning/test_two_owners.py", "tests/owning/test_repeated_calls.py"]
    return Program("two owners", ["-m", "pytest", *files], environment)


def fuzzing(seed: int, examples: int) -> Program:
    """Return the tests with generated requests to the proxy, and with generated responses: on
    sockets, of KATO's API, and of Consul's."""
    environment = {"KATO_CONSUL_SEED": str(seed), "KATO_CONSUL_FUZZ_EXAMPLES": str(examples)}
    files = [
        "tests/shells/test_odd_wire.py",
        "tests/kato/test_odd_responses.py",
        "tests/discovery/test_odd_answers.py",
        "tests/proxy/test_generated_requests.py",
    ]
    return Program("fuzzing", ["-m", "pytest", *files, "-k", "any_"], environment)


def model(seed: int, states: int) -> Program:
    """Return the search of the model of session ownership, for calls that the seed chooses."""
    environment = {
        "KATO_CONSUL_SEED": str(seed),
        "KATO_CONSUL_MODEL_CALLS": "4",
        "KATO_CONSUL_MODEL_STATES": str(states),
    }
    where = ["tests/owning/test_model.py", "-k", "random_scenario"]
    return Program("model", ["-m", "pytest", *where], environment)


def cell(name: str, observations: int) -> Program:
    """Return one cell of the fault matrix."""
    environment = {
        "KATO_CONSUL_FAULT_OBSERVATIONS": str(observations),
        "KATO_CONSUL_FAULT_ENGINES": "all",
    }
    where = ["tests/faults/test_matrix.py", "-k", f"[{name}-"]
    return Program(f"fault cell {name}", ["-m", "pytest", *where], environment)


def soak(seed: int, seconds: float, *, sync: bool) -> Program:
    """Return a soak: mixed faults and kills."""
    arguments = ["-m", "tests.faults.soak", "--seconds", f"{seconds:g}", "--seed", str(seed)]
    name = "sync soak" if sync else "soak"
    return Program(name, [*arguments, "--sync"] if sync else arguments)


def histories(seed: int, observations: int) -> Program:
    """Return a run of several processes that share sessions: the seed chooses shell and
    directory."""
    directory, shell = ("consul", "redis")[seed % 2], ("sync", "async")[seed // 2 % 2]
    arguments = ["-m", "tests.histories.run", "--directory", directory, "--shell", shell]
    numbers = ["--observations", str(observations), "--seed", str(seed)]
    return Program(f"histories, {directory}, {shell}", [*arguments, *numbers])


def callers(seed: int) -> Program:
    """Return a run of callers that know nothing, through the proxy: the seed chooses the way."""
    ways = [name for name, way in WAYS.items() if way.must_not_lose]
    way = ways[seed % len(ways)]
    arguments = ["-m", "tests.callers.run", "--through", way, "--seed", str(seed)]
    return Program(f"callers, {way}", arguments)


def demo() -> Program:
    """Return the demo at its full length."""
    return Program("demo", ["-m", "kato_consul", "demo", "--json"])


def programs(seconds: float, first_seed: int | None) -> Iterator[Program]:
    """Yield the programs to run, without end."""
    seeds = map(_seed, itertools.count()) if first_seed is None else itertools.count(first_seed)
    soak_seconds = min(max(seconds * SOAK_SHARE, SHORTEST_SOAK), LONGEST_SOAK)
    states = min(max(int(seconds * 1_000), FEWEST_STATES), MOST_STATES)
    runs = min(max(int(seconds * 2), FEWEST_RUNS), MOST_RUNS)
    shared = min(max(int(seconds * 3), FEWEST_SHARED), MOST_SHARED)
    while True:
        yield demo()
        names = [one.name for one in CELLS]
        random.Random(next(seeds)).shuffle(names)
        for position, name in enumerate(names):
            if position % 6 == 0:
                yield settling(next(seeds), runs)
                yield owners(next(seeds), runs // 2)
                yield fuzzing(next(seeds), runs)
                yield model(next(seeds), states)
                yield histories(next(seeds), shared)
                yield callers(next(seeds))
                yield soak(next(seeds), soak_seconds, sync=False)
                yield soak(next(seeds), soak_seconds, sync=True)
            yield cell(name, min(max(int(seconds * 3), FEWEST_OBSERVATIONS), MOST_OBSERVATIONS))


def _seed(_: int) -> int:
    return secrets.randbelow(2**32)


def print_line(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the hunt; return 1 if a program failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(arguments)
    until = time.monotonic() + given.seconds
    for program in programs(given.seconds, given.seed):
        started = time.monotonic()
        passed = program.run()
        result = "passed" if passed else "FAILED"
        print_line(f"{result} after {time.monotonic() - started:4.0f} s: {program.name}")
        print_line(f"    {program.command}")
        if not passed:
            return 1
        if time.monotonic() > until:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
