"""Retries: requests with an idempotency key that another process is to make again."""

import contextlib
import itertools
from pathlib import Path

import msgspec

from tests.histories.calls import Request

MOST_TRIES = 6
"""How often a request is made at most: a learn may never have an outcome."""


class Retries:
    """A folder with requests, which the processes of a run share.

    Args:
        folder: the folder.
        process: the name of this process.
    """

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self._process = process
        self._numbers = itertools.count()

    def put(self, request: Request, process: str | None = None) -> None:
        """Let a process other than ``process``, which is this one unless given, make it again."""
        if request.tries >= MOST_TRIES:
            return
        again = msgspec.structs.replace(request, tries=request.tries + 1)
        name = f"{next(self._numbers)}.{self._process}"
        unfinished = self._folder / f"{name}.unfinished"
        unfinished.write_bytes(msgspec.json.encode(again))
        unfinished.rename(self._folder / f"{name}.{process or self._process}.retry")

    def take(self) -> Request | None:
        """Return a request that another process could not complete, None if there is none."""
        for file in self._folder.glob("*.retry"):
            if file.stem.endswith(f".{self._process}"):
                continue
            mine = file.with_suffix(f".taken-by-{self._process}")
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                file.rename(mine)
                return msgspec.json.decode(mine.read_bytes(), type=Request)
        return None
