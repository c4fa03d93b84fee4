"""The copy of the last good snapshot on disk."""

import contextlib
import os

from kato_consul._discovery.snapshot_codec import (
    SavedSnapshot,
    UnusableSnapshot,
    decode,
    encode,
    file_name,
    query_fingerprint,
)
from kato_consul._logging import logger
from kato_consul.models import Snapshot
from kato_consul.settings import Settings

log = logger("discovery")


class SnapshotFile:
    """Keeps the copy that belongs to some settings, in their ``state_dir``; without one, nothing.

    A copy that cannot be read or written is told in the log: discovery goes on without.
    """

    def __init__(self, settings: Settings) -> None:
        self._service = settings.service
        self._question = query_fingerprint(settings)
        folder = settings.state_dir
        self.path = folder and folder / file_name(self._service, self._question)
        self._told = ""

    def read(self) -> SavedSnapshot | None:
        """The copy, if there is a good one."""
        if self.path is None:
            return None
        try:
            return decode(self.path.read_bytes(), self._service, self._question)
        except FileNotFoundError:
            return None
        except (OSError, UnusableSnapshot) as error:
            log.warning("discovery.snapshot_not_loaded", path=str(self.path), why=str(error))
            return None

    def write(self, snapshot: Snapshot, confirmed: float) -> None:
        """Replace the copy whole: a reader sees the one before or this one, never half of it.

        There is no fsync: a copy that a power cut leaves in halves is found out by its digest.
        """
        if self.path is None:
            return
        # The process's number: others may keep the same copy.
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(encode(snapshot, self._question, confirmed))
            beside.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            if str(error) != self._told:  # once, not at each change
                log.warning("discovery.snapshot_not_saved", path=str(self.path), why=str(error))
            self._told = str(error)
        else:
            self._told = ""
