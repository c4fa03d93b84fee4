"""Snapshot file: the last snapshot with a usable instance, saved to disk."""

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
    """The file of the saved snapshot for some settings, in their ``state_dir``. Without that
    nothing is saved.

    A file that cannot be read or written is logged as a warning; discovery continues without it.
    """

    def __init__(self, settings: Settings) -> None:
        self._service = settings.service
        self._fingerprint = query_fingerprint(settings)
        folder = settings.state_dir
        self.path = folder and folder / file_name(self._service, self._fingerprint)
        self._logged_error = ""

    def read(self) -> SavedSnapshot | None:
        """Return the saved snapshot; None if there is none, or it cannot be used."""
        if self.path is None:
            return None
        try:
            return decode(self.path.read_bytes(), self._service, self._fingerprint)
        except FileNotFoundError:
            return None
        except (OSError, UnusableSnapshot) as error:
            log.warning("discovery.snapshot_not_loaded", path=str(self.path), why=str(error))
            return None

    def write(self, snapshot: Snapshot, confirmed_at: float) -> None:
        """Replace the file atomically: a reader gets the previous content or this one.

        ``confirmed_at`` is in seconds since 1970. The file is not synced to disk (fsync): content
        that a power failure truncates is detected by its digest.
        """
        if self.path is None:
            return
        # With the process id: other processes may write the same file.
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(encode(snapshot, self._fingerprint, confirmed_at))
            temporary.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if str(error) != self._logged_error:  # once, not at each change
                log.warning("discovery.snapshot_not_saved", path=str(self.path), why=str(error))
            self._logged_error = str(error)
        else:
            self._logged_error = ""
