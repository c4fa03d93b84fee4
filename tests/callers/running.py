"""Callers that know nothing of this project: programs in three languages that use KATO's API.

Each opens a session of a node of its own, observes with unique symbols, and reads the memory in the
end. None repeats a request that failed, except that it opens until it has a session. Each prints a
record of each request, a line of JSON:

    {"what": {"observe": symbol}, "began": …, "ended": …, "status": …, "error": …, "body": …}

``what`` may be "open" (with the node), "observe" or "read" (with the session); the times are in
seconds since 1970. ``status`` is 0 if no whole response came, and ``error`` says why. ``body`` is
that of a 200. All they need is a URL: of an instance, of a gateway, or of `kato-consul proxy`.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent

PROGRAMS = {
    "curl": ("bash", str(HERE / "curl.sh")),
    "requests": (sys.executable, str(HERE / "requests_session.py")),
    "node": ("node", str(HERE / "node_fetch.mjs")),
}
"""Commands by language."""


def missing(language: str) -> str | None:
    """Return the name of the program that a caller needs and the machine does not have."""
    needed = language if language == "curl" else PROGRAMS[language][0]
    return None if shutil.which(needed) else needed


@dataclass(frozen=True, slots=True)
class Record:
    """One request of a caller."""

    what: dict[str, str]
    began: float
    ended: float
    status: int
    error: str
    body: Any

    @property
    def acknowledged(self) -> bool:
        """True if it was answered 200."""
        return self.status == 200

    @property
    def failure(self) -> str:
        """How it failed, for counting."""
        return self.error or f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that has been started. ``records`` and ``log`` are its standard output and error."""

    language: str
    node: str
    process: subprocess.Popen[bytes]
    records: Path
    log: Path

    def read(self) -> list[Record]:
        """Return the records of the requests that have ended."""
        lines = self.records.read_text().splitlines(keepends=True)
        return [Record(**json.loads(line)) for line in lines if line.endswith("\n")]


class Callers(AbstractContextManager["Callers"]):
    """Callers that run at the same time; a ``with`` block kills those that still run at its end.

    Args:
        url: base URL that they all use, without a trailing slash.
        folder: folder for their records.
        languages: one caller each; a language may be named more than once.
        count: number of observations of each, at most `kato_consul.testing.kato.memory.STM_BOUND`.
        pause: seconds between two requests of a caller.
        timeout: seconds after which a caller gives a request up.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        languages: Sequence[str] = tuple(PROGRAMS),
        count: int = 100,
        pause: float = 0.0,
        timeout: float = 30.0,
    ) -> None:
        self._url = url
        self._folder = folder
        self._languages = languages
        self._options = [str(count), str(pause), str(timeout)]
        self.all: list[Caller] = []

    def __enter__(self) -> Self:
        for language in self._languages:
            self._start(language)
        return self

    def __exit__(self, *_: object) -> None:
        for caller in self.all:
            caller.process.kill()
            caller.process.wait()

    def wait(self, timeout: float) -> None:
        """Wait until all have ended, each up to `timeout` seconds.

        Raises:
            subprocess.TimeoutExpired: one has not ended.
            RuntimeError: one has failed; the text has the end of its log.
        """
        for caller in self.all:
            if status := caller.process.wait(timeout):
                text = caller.log.read_text()[-2_000:]
                raise RuntimeError(f"{caller.language} ended with status {status}:\n{text}")

    def _start(self, language: str) -> None:
        node = f"{language}-{uuid.uuid4().hex[:8]}"
        records, log = self._folder / f"{node}.jsonl", self._folder / f"{node}.log"
        with records.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(
                [*PROGRAMS[language], self._url, node, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.all.append(Caller(language, node, process, records, log))
