"""Live registrars: which processes of this machine keep the same instance registered.

The worker processes of one service register one instance, each by itself, and each may end or be
killed at any time. The last one to end has to deregister the instance, and no other. So each
holds a shared lock on a file for the instance, which the system releases however the process ends.
A process that ends tries to make its lock an exclusive one: it succeeds if it is the last. While it
then deregisters the instance, a process that starts does not get the lock, and waits with its
registration.

The files are in the temporary directory, in a folder of the user: workers of one service have both
in common. Where this folder cannot be used, each process counts as the last one.

The locks are those of flock(2): they belong to an open file, so two registrars in one process have
two, and a forked child would keep its parent's lock if it did not close the file.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import weakref
from pathlib import Path

_all: "weakref.WeakSet[LiveRegistrars]" = weakref.WeakSet()


class LiveRegistrars:
    """The locks of one registrar, by the ids of its instances.

    Attributes:
        unusable: why no lock can be taken; empty if they can.
    """

    def __init__(self, agent: str, directory: Path | None = None) -> None:
        """``agent`` is what distinguishes the agent, with its namespace, from others."""
        self._agent = agent
        self._directory = directory
        self._files: dict[str, int] = {}
        self._exclusive: set[str] = set()
        self.unusable = ""
        weakref.finalize(self, _close_all, self._files).atexit = False
        _all.add(self)

    def join(self, service_id: str) -> bool:
        """Take or keep the shared lock of an instance.

        Returns False while another process deregisters the instance: try again soon. A file that
        was removed meanwhile, as cleaners of temporary directories do, is made again.
        """
        try:
            path = self._path(service_id)
            file = self._files.get(service_id)
            if file is not None and not _is_at(file, path):
                self._close(service_id)
                file = None
            if file is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                file = self._files[service_id] = os.open(path, flags, 0o600)
            elif service_id not in self._exclusive:
                return True
            self._exclusive.discard(service_id)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _is_at(file, path):
                return True
            self._close(service_id)  # the last one removed it before it was locked here
        except BlockingIOError:
            self._close(service_id)
        except OSError as error:
            self._close(service_id)
            if isinstance(error, FileNotFoundError) and self._directory is None:
                return False  # the last process of another service has just removed the folder
            self.unusable = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            return True
        return False

    def leave(self, service_id: str) -> bool:
        """Give up the lock of an instance; return whether no other process has it.

        If so, others wait until `end` is called for the instance.
        """
        file = self._files.get(service_id)
        if file is None:
            return True
        if service_id in self._exclusive:
            return True
        # Of two that leave at the same time, the second to release finds no other lock.
        fcntl.flock(file, fcntl.LOCK_UN)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._close(service_id)
            return False
        self._exclusive.add(service_id)
        return True

    def end(self, service_id: str) -> None:
        """Release what is left of an instance's lock. The last process removes its file."""
        file = self._files.get(service_id)
        if file is not None and service_id in self._exclusive:
            with contextlib.suppress(OSError):
                path = self._path(service_id)
                if _is_at(file, path):
                    path.unlink()
                    if self._directory is None:
                        path.parent.rmdir()  # not, if there are other files in it
        self._close(service_id)

    def close(self) -> None:
        """Release all locks."""
        for service_id in tuple(self._files):
            self.end(service_id)

    def close_in_child(self) -> None:
        """Close the files in a forked child: the locks are its parent's."""
        self._exclusive.clear()
        _close_all(self._files)

    def _path(self, service_id: str) -> Path:
        directory = _user_directory() if self._directory is None else self._directory
        name = hashlib.sha256(f"{self._agent}\n{service_id}".encode()).hexdigest()[:32]
        return directory / f"{name}.lock"

    def _close(self, service_id: str) -> None:
        self._exclusive.discard(service_id)
        file = self._files.pop(service_id, None)
        if file is not None:
            os.close(file)


def _user_directory() -> Path:
    """Return this user's folder in the temporary directory; create it if necessary.

    Raises:
        OSError: it cannot be created, or it is another user's.
    """
    directory = Path(tempfile.gettempdir()) / f"kato-consul-locks-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        directory.mkdir(0o700)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(0, "not a folder of this user alone", str(directory))
    return directory


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _close_all(files: dict[str, int]) -> None:
    while files:
        with contextlib.suppress(OSError, KeyError):
            os.close(files.popitem()[1])


def _close_in_child() -> None:
    for one in tuple(_all):
        one.close_in_child()


os.register_at_fork(after_in_child=_close_in_child)
