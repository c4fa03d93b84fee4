"""What a stand-in instance is told to suffer from, while it runs.

The switches are a small JSON file which each worker looks at before each step, so that they
reach every worker of an instance, a hanging one too, without a connection to it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

StoreState = Literal["up", "down", "full", "hung"]
STORE_STATES: tuple[StoreState, ...] = ("up", "down", "full", "hung")


@dataclass(frozen=True, slots=True)
class Switches:
    """`healthy` is what /health says; `slow` are seconds added between a session's reading and
    its writing back; `hung` keeps every request waiting, to be carried out later even when its
    caller has given up; `store` is how the instance sees its store: refusing connections ("down"),
    refusing writes ("full"), or silent ("hung"; who has given up by then is forgotten).
    """

    healthy: bool = True
    slow: float = 0.0
    hung: bool = False
    store: StoreState = "up"

    def __post_init__(self) -> None:
        if self.store not in STORE_STATES:
            raise ValueError(f"store is {self.store!r}; it may be {', '.join(STORE_STATES)}")
        if self.slow < 0:
            raise ValueError(f"slow is {self.slow!r}; it may be 0 or more seconds")


def write(path: Path, switches: Switches) -> None:
    """Set the switches. A reader sees the old ones or the new ones, never half of them."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(switches)))
    draft.replace(path)


class SwitchFile:
    """The reading side. No file means that all is well."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._switches = Switches()

    def now(self) -> Switches:
        """Return the switches as they stand. ValueError when the file holds something else."""
        if self._path is None:
            return self._switches
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._seen, self._switches = None, Switches()
            return self._switches
        look = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if look != self._seen:
            self._switches = Switches(**json.loads(self._path.read_text()))
            self._seen = look
        return self._switches
