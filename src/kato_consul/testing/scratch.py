"""Temporary folders that are removed even after an interrupt.

`tempfile` creates the folder first and schedules its removal afterwards. A Ctrl-C between the two
leaves the folder behind; that is not rare, for users interrupt after a message appears. Here the
removal is scheduled before the folder is created.
"""

import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Self


class ScratchFolder:
    """A new folder in the system's temporary folder, at ``path``; its name starts with ``prefix``.

    Removed by `remove`, at the end of a ``with`` block, when this object is collected, or when the
    process ends, whichever comes first. A forked child does not remove it.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.gettempdir()) / f"{prefix}{uuid.uuid4().hex[:12]}"
        self._remove = weakref.finalize(self, _remove_if_owner, self.path, os.getpid())
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder and its contents. Idempotent."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _remove_if_owner(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)  # an interrupt may have prevented its creation
