"""The processes of a run: four of them, each replaced by another when it ends."""

import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kato_consul.testing.processes import ChildProcess
from tests.directory.tcp_proxy import TcpProxy
from tests.histories.caller_process import Options
from tests.histories.calls import Made, read_calls
from tests.histories.retries import Retries
from tests.histories.site import Site

DEADLINES = (6.0, 12.0, 20.0)
"""Deadlines of calls, in seconds: a directory that is away for 10 s ends some of the calls."""

ATTEMPT_TIMEOUTS = (2.0, 10.0)
"""Longest times of an attempt, in seconds: a process does or does not give up on an instance that
is stopped for longer than a lease."""

START_WITHIN = 30.0
"""Seconds for a process to start, on a busy machine."""

END_WITHIN = 45.0
"""Seconds for a process to end in order: a call in hand ends within its deadline."""


@dataclass
class Child:
    """One process, in its place among the four, with its way to the directory."""

    name: str
    slot: int
    process: ChildProcess
    proxy: TcpProxy


class Group:
    """The processes of a run, whose files are in one folder."""

    def __init__(
        self, site: Site, folder: Path, shell: str, seed: int, *, callers: int, keys: int
    ) -> None:
        self.folder = folder
        self.children: dict[int, Child] = {}
        self.failed: list[str] = []
        self._site = site
        self._shell = shell
        self._seed = seed
        self._callers = callers
        self._keys = keys
        self._started = 0
        self._lock = threading.Lock()
        self._retries = Retries(folder / "retries", "parent")
        for part in ("calls", "logs", "retries"):
            (folder / part).mkdir()

    def start(self, slot: int) -> None:
        """Start a process in this place."""
        self._started += 1
        name = f"process-{self._started}"
        proxy = self._site.new_proxy()
        rng = random.Random(f"{self._seed} {name}")
        options = Options(
            name=name,
            folder=str(self.folder),
            shell=self._shell,
            seed=self._seed,
            callers=self._callers,
            keys=self._keys,
            consul=self._site.consul_setting(proxy),
            directory=self._site.directory_setting(proxy),
            deadline=rng.choice(DEADLINES),
            attempt_timeout=rng.choice(ATTEMPT_TIMEOUTS),
        )
        process = ChildProcess(
            [
                *(sys.executable, "-m", "tests.histories.caller_process"),
                msgspec.json.encode(options).decode(),
            ],
            name=name,
            log=self.folder / "logs" / f"{name}.log",
        )
        process.start()
        with self._lock:
            self.children[slot] = Child(name, slot, process, proxy)

    def any_child(self, rng: random.Random) -> Child:
        """Return one of the processes."""
        with self._lock:
            return rng.choice([self.children[slot] for slot in sorted(self.children)])

    def all_children(self) -> list[Child]:
        """Return all processes."""
        with self._lock:
            return list(self.children.values())

    def kill(self, child: Child) -> None:
        """Kill a process; its calls with an idempotency key are made again by another."""
        child.process.kill()
        self.retry_elsewhere(child)

    def retry_elsewhere(self, child: Child) -> None:
        """Let other processes make the calls again that a process has in hand, as a proxy in front
        of a service does."""
        for call in read_calls(self._files(child.name)):
            if call.ended is None and call.request.idempotency_key is not None:
                self._retries.put(call.request, child.name)

    def end(self, child: Child) -> None:
        """Let a process end in order."""
        self._ask_to_end(child)
        self._wait_for_end(child)

    def end_all(self) -> None:
        """Let all processes end in order, at the same time."""
        for child in self.children.values():
            self._ask_to_end(child)
        for child in self.children.values():
            self._wait_for_end(child)

    def _ask_to_end(self, child: Child) -> None:
        """Send a process SIGTERM, once it handles that: then its history begins."""
        until = time.monotonic() + START_WITHIN
        while child.process.running and not self._files(child.name):
            if time.monotonic() > until:
                raise TimeoutError(f"{child.name} does not start:\n{child.process.log_tail()}")
            time.sleep(0.02)
        if child.process.running:
            child.process.signal(signal.SIGTERM)

    def _wait_for_end(self, child: Child) -> None:
        status = child.process.wait(END_WITHIN)
        if status:
            self.failed.append(f"{child.name} exited with {status}:\n{child.process.log_tail()}")

    def kill_all(self) -> None:
        """Kill all that still run."""
        for child in self.children.values():
            child.process.kill()

    def calls(self) -> list[Made]:
        """Return all calls so far."""
        return read_calls(self._files())

    def logs(self) -> dict[str, str]:
        """Return what each process has logged."""
        return {path.stem: path.read_text() for path in (self.folder / "logs").iterdir()}

    def _files(self, name: str = "*") -> Sequence[Path]:
        return sorted((self.folder / "calls").glob(f"{name}.jsonl"))
