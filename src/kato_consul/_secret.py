"""Secrets: values that never appear in logs or errors, and files that hold one."""

import time
from collections.abc import Callable
from pathlib import Path

from kato_consul.errors import ConfigurationError


class Secret:
    """A token whose text is not part of its repr, nor of a log, an error or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the token. Only for the header that carries it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


SETTLED_AFTER = 2.0
"""Seconds after which a file's modification time proves that it was not written again. A second
write within the file system's resolution, which may be 2 s, leaves the time as it was."""


class SecretFile:
    """A file that holds one secret. It is read again when it changes.

    Args:
        path: the file. Spaces and line breaks around its content are ignored.
        setting: the setting and the variable that name the file, for errors.
        check: raises `ConfigurationError` if the content cannot be used.
    """

    def __init__(self, path: Path, setting: str, check: Callable[[Secret], None]) -> None:
        self._path = path
        self._setting = setting
        self._check = check
        self._stamp: tuple[int, ...] | None = None
        self._secret: Secret | None = None

    def current(self) -> Secret:
        """Return the newest secret; empty if the file never had one. While the file is being
        replaced, and so missing, empty or not valid, it is the one that was read last: without a
        token Consul would not refuse a read, but hide what it may not show.

        Raises:
            ConfigurationError: the file could never be read, or its content not be used.
        """
        try:
            status = self._path.stat()
            times = status.st_mtime_ns, status.st_ctime_ns  # `cp -p` and rsync set only the first
            stamp = (*times, status.st_size, status.st_ino)
            if self._secret is None or stamp != self._stamp:
                secret = Secret(self._path.read_text(encoding="utf-8").strip())
                self._check(secret)
                settled = time.time() - status.st_mtime > SETTLED_AFTER
                self._stamp = stamp if settled else None
                if secret or self._secret is None:
                    self._secret = secret
        except (OSError, UnicodeDecodeError) as error:
            if self._secret is None:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise ConfigurationError(
                    f"{self._setting}: cannot read {self._path}: {reason}"
                ) from None
        except ConfigurationError:
            if self._secret is None:
                raise
        return self._secret


_files: dict[tuple[Path, str], SecretFile] = {}


def secret_file(path: Path, setting: str, check: Callable[[Secret], None]) -> SecretFile:
    """Return the file at ``path`` of this process, with the arguments of `SecretFile`.

    All that is made from settings with this file shares what was read from it last. So a client
    that is created, or asks for another service, while the file is being replaced works, too.
    """
    return _files.setdefault((path, setting), SecretFile(path, setting, check))
