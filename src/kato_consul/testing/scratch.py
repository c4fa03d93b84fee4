"""Temporary folders that an interrupt cannot leave behind.

`tempfile` makes the folder first and takes note of it after: a Ctrl-C in between, which is not rare
when it follows a word to the user, leaves it for good. Here it is known before it is made.
"""

import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Self


class ScratchFolder:
    """A folder of our own in the system's temporary one, at ``path``.

    Gone with `remove`, with the ``with`` block, with this object, or at the process's end,
    whichever comes first. A forked child of ours does not remove it.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.gettempdir()) / f"{prefix}{uuid.uuid4().hex[:12]}"
        self._remove = weakref.finalize(self, _remove_ours, self.path, os.getpid())
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder and all in it. Idempotent."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _remove_ours(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)  # an interrupt may have come before it was made
