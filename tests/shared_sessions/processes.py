"""Processes of a service in tests, each with a client of its own: stopped, killed, or ended."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from tests.shared_sessions.clients import WITHIN, Shell
from tests.testing.waiting import eventually

ROOT = Path(__file__).parents[2]


class CallFailed(Exception):
    """A call of another process raised an error: its class, its text and its ``sent``."""

    def __init__(self, kind: str, text: str, sent: bool | None) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.sent = kind, text, sent


class Process:
    """One process, as a context manager, which kills it."""

    def __init__(self, settings: dict[str, Any], shell: Shell = "sync") -> None:
        argv = [sys.executable, "-m", "tests.shared_sessions.caller_process"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        self._numbers = itertools.count(1)
        self._calls: dict[int, Future[Any]] = {}
        self._process = subprocess.Popen(
            [*argv, json.dumps(settings), shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=ROOT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def start(self, method: str, *args: Any, key: str = "user-1", **kwargs: Any) -> "Future[Any]":
        """Begin a call on a session."""
        return self._start(method, args, kwargs, key, {})

    def call(self, method: str, *args: Any, key: str = "user-1", **kwargs: Any) -> Any:
        """Make a call on a session."""
        return self.start(method, *args, key=key, **kwargs).result(WITHIN)

    def open(self, method: str, *args: Any, key: str = "user-1", **options: Any) -> Any:
        """Make the first call on a session that is asked for with options."""
        return self._start(method, args, {}, key, options).result(WITHIN)

    def symbols(self, key: str = "user-1") -> list[str]:
        """Return the symbols of the memory, of events with one symbol each."""
        return [symbol for (symbol,) in self.call("stm", key=key)]

    def stop_before(self, method: str, end: str) -> None:
        """Let it stop itself just before it sends a request with this method and end of path."""
        self._write({"stop_before": [method, end]})

    def is_stopped(self) -> bool:
        """Return whether it is stopped."""
        state = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
        return state.split()[0] == "T"

    def freeze(self) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGSTOP)
        assert eventually(self.is_stopped)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def end(self) -> int:
        """Let it close its client and end; return its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(WITHIN)

    def _start(
        self, method: str, args: Any, kwargs: Any, key: str, options: dict[str, Any]
    ) -> "Future[Any]":
        number, future = next(self._numbers), Future[Any]()
        self._calls[number] = future
        call = {"n": number, "key": key, "options": options, "method": method}
        self._write({**call, "args": args, "kwargs": kwargs})
        return future

    def _write(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(line)}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            future = self._calls.pop(answer["n"])
            if "error" in answer:
                future.set_exception(CallFailed(answer["error"], answer["text"], answer["sent"]))
            else:
                future.set_result(answer["result"])
        for future in self._calls.values():
            future.set_exception(EOFError("the process has ended"))
