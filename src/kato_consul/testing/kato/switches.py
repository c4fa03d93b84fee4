"""Fault switches of a stand-in instance, which can be changed while it runs.

The switches are a small JSON file that each worker reads before each step. So they reach every
worker of an instance, even a hanging one, without a connection.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

StoreState = Literal["up", "down", "full", "hung"]
STORE_STATES: tuple[StoreState, ...] = ("up", "down", "full", "hung")

STATUS_OF_ISSUE = {
    "High CPU usage": "degraded",
    "High memory usage": "unhealthy",
    "High error rate": "degraded",
}
"""In the order in which KATO 3.10.1 checks them (``get_health_status``): the last one decides."""


@dataclass(frozen=True, slots=True)
class Switches:
    """The faults of one instance; `StandInKato.switch` describes them.

    Raises ValueError if ``store`` is none of `STORE_STATES`, an issue is none of
    `STATUS_OF_ISSUE`, or ``slow`` is negative.
    """

    healthy: bool = True
    issues: tuple[str, ...] = ()
    slow: float = 0.0
    hung: bool = False
    store: StoreState = "up"

    def __post_init__(self) -> None:
        if self.store not in STORE_STATES:
            raise ValueError(f"store is {self.store!r}; it may be {', '.join(STORE_STATES)}")
        if unknown := [issue for issue in self.issues if issue not in STATUS_OF_ISSUE]:
            names = ", ".join(STATUS_OF_ISSUE)
            raise ValueError(f"issues has {unknown[0]!r}; it may have {names}")
        if self.slow < 0:
            raise ValueError(f"slow is {self.slow!r}; it may be 0 or more seconds")


def write(path: Path, switches: Switches) -> None:
    """Write the switches atomically: a reader sees either the old or the new ones."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(switches)))
    draft.replace(path)


class SwitchFile:
    """The switches as read by a worker. Without a file there are no faults."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._switches = Switches()

    def now(self) -> Switches:
        """Return the current switches. Raises ValueError if the file is not valid."""
        if self._path is None:
            return self._switches
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._version, self._switches = None, Switches()
            return self._switches
        version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if version != self._version:
            self._switches = Switches(**json.loads(self._path.read_text()))
            self._version = version
        return self._switches
