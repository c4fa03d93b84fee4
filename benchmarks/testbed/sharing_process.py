"""One process of a service that shares its sessions: ``python -m benchmarks.testbed.sharing_process
CONSUL DIRECTORY``.

It reads one call a line (a name and its arguments, as JSON), and answers each with a line. It ends
with its standard input: so it never outlives the benchmark.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.testbed.kato_responses import STRINGS
from benchmarks.testbed.processes import ROOT, SERVICE
from kato_consul import KatoClient, Settings

WITHIN = 60.0
"""Seconds for a call: nothing measured here takes as long."""


class SharingProcess:
    """The benchmark's side of one process."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program = program

    def ask(self, name: str, *arguments: object) -> Any:
        """Have the process make a call, and return its answer."""
        self.begin(name, *arguments)
        return self.answer()

    def begin(self, name: str, *arguments: object) -> None:
        """Have the process make a call; `answer` returns its answer."""
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._program.stdin.flush()

    def answer(self) -> Any:
        """Return the answer to the call that was begun."""
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            raise RuntimeError("a process that shares sessions has ended; see its error above")
        return json.loads(line)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._program.kill()
        self._program.wait()


@contextlib.contextmanager
def sharing_processes(count: int, consul: str, directory: str) -> Iterator[list[SharingProcess]]:
    """Start processes of one service for the length of the block. ``directory`` is as in
    `Settings`."""
    argv = [sys.executable, "-m", "benchmarks.testbed.sharing_process", consul, directory]
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    env = {**os.environ, "PYTHONPATH": path}
    programs = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(count)
    ]
    try:
        yield [SharingProcess(program) for program in programs]
    finally:
        for program in programs:
            program.kill()
        for program in programs:
            program.communicate()


class _Calls:
    """What such a process can be asked for."""

    def __init__(self, client: KatoClient) -> None:
        self._client = client

    def observe(self, key: str, times: int) -> list[float]:
        """Observe, and return the seconds that each call took."""
        session = self._client.session(key)
        return [_seconds(lambda: session.observe(STRINGS)) for _ in range(times)]

    def observe_for(self, key: str, seconds: float) -> list[float]:
        """Observe one call after the other for some time; return the seconds that each took."""
        session, until, took = self._client.session(key), time.perf_counter() + seconds, []
        while time.perf_counter() < until:
            took.append(_seconds(lambda: session.observe(STRINGS)))
        return took

    def own(self, prefix: str, count: int) -> int:
        """Own so many sessions: observe once in each. Return how many."""
        for number in range(count):
            self._client.session(f"{prefix}{number}").observe(STRINGS)
        return count


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Make the calls that are read, until there are no more."""
    consul, directory = sys.argv[1:]
    settings = Settings(
        consul_addr=consul,
        service=SERVICE,
        session_directory=directory,
        deadline=WITHIN,
        trust_env=False,
    )
    with KatoClient(settings) as client:
        calls = _Calls(client)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            sys.stdout.write(json.dumps(getattr(calls, name)(*arguments)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
