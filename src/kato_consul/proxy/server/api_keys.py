"""API keys: a file of their hashes, and the middleware that requires one of them.

A key is 256 random bits, so a plain SHA-256 of it cannot be reversed by trying, as that of a
password could.
"""

import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from kato_consul._logging import logger
from kato_consul._secret import SETTLED_AFTER, Secret
from kato_consul.errors import ConfigurationError
from kato_consul.proxy.http import CALLER
from kato_consul.proxy.server.measuring import Meter, Rejection
from kato_consul.proxy.server.refusals import refuse

PROBES = frozenset({"/health", "/ready"})
"""Paths without keys and limits: Consul, Kubernetes and gateways probe them without a key."""

CHECK_INTERVAL = 1.0
"""Seconds between looks at the file, which happen with a request."""

CHALLENGE = (b"www-authenticate", b'Bearer realm="kato"')

_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})\s+([0-9a-fA-F]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logger("proxy")


@dataclass(frozen=True)
class ApiKey:
    """An API key, and the line of it for the file of keys.

    Attributes:
        key: what callers send; it is not stored anywhere.
        line: ``NAME SHA256``.
    """

    key: Secret
    line: str

    @classmethod
    def create(cls, name: str) -> "ApiKey":
        """Return a new key.

        Args:
            name: its name in the file: up to 64 letters, digits, ``.``, ``_`` and ``-``. Several
                keys may have the same, so that a new one can replace an old one.

        Raises:
            ConfigurationError: the name cannot be used.
        """
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(
                f"{name!r} cannot name an API key: use up to 64 letters, digits, '.', '_' and '-'"
            )
        key = secrets.token_urlsafe(32)
        return cls(Secret(key), f"{name} {sha256(key.encode()).hexdigest()}")


class KeyFile:
    """A file with the hashes of keys, which is read again when it changes.

    Each line is ``NAME SHA256`` in hexadecimal; empty lines and those that begin with ``#`` are
    ignored.

    Args:
        path: the file.

    Raises:
        ConfigurationError: it cannot be read, has a line that is none, or no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._rejected = ""
        self._next_check = 0.0
        self._names: list[tuple[bytes, str]] = []
        self._read_if_changed()

    def name_of(self, key: bytes) -> str | None:
        """Return the name of a key, or None if the file has none such.

        All keys are compared, each in constant time.
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            self._refresh()
        digest = sha256(key).digest()
        found = None
        for known, name in self._names:
            if compare_digest(known, digest):
                found = name
        return found

    def _refresh(self) -> None:
        """Read a changed file. If it cannot be used, the keys of before are."""
        try:
            self._read_if_changed()
            self._rejected = ""
        except ConfigurationError as error:
            why = str(error)
            if why != self._rejected:
                log.warning("proxy.keys_rejected", path=str(self._path), why=why)
            self._rejected = why

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
            if stamp == self._stamp:
                return
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigurationError(f"--api-keys {self._path} cannot be read: {reason}") from None
        self._names = self._parsed(text)
        settled = time.time() - status.st_mtime > SETTLED_AFTER
        self._stamp = stamp if settled else None

    def _parsed(self, text: str) -> list[tuple[bytes, str]]:
        names: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            found = _LINE.fullmatch(entry)
            if found is None:  # the line is not shown: it may be a key
                raise ConfigurationError(
                    f"--api-keys {self._path}, line {number}: write NAME SHA256, as "
                    f"`kato-consul api-key NAME` prints it"
                )
            digest = bytes.fromhex(found[2])
            if names.setdefault(digest, found[1]) != found[1]:
                raise ConfigurationError(
                    f"--api-keys {self._path}, line {number}: {found[1]} and {names[digest]} are "
                    f"the same key: make another with `kato-consul api-key {found[1]}`"
                )
        if not names:
            raise ConfigurationError(
                f"--api-keys {self._path} has no key: add one with `kato-consul api-key NAME`"
            )
        return list(names.items())


class KeysRequired:
    """An ASGI middleware that requires a key: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

    Probes pass without one, and so do CORS preflights, which browsers send without headers of the
    page and which change nothing.
    """

    def __init__(self, app: ASGIApp, keys: KeyFile, meter: Meter) -> None:
        self._app = app
        self._keys = keys
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["path"] not in PROBES:
            key, is_preflight = _credentials(scope)
            name = None if key is None else self._keys.name_of(key)
            if name is None and not is_preflight:
                self._meter.rejected(Rejection.UNAUTHORIZED)
                detail = "this API key is not known" if key else "an API key is needed"
                await refuse(scope, send, 401, detail, [CHALLENGE])
                return
            scope[CALLER] = name
        await self._app(scope, receive, send)


def _credentials(scope: Scope) -> tuple[bytes | None, bool]:
    """Return the key of a request, and whether it is a CORS preflight."""
    key = None
    asks_method = False
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            key = value.strip()
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            key = value[7:].strip()
        elif name == b"access-control-request-method":
            asks_method = True
    return key, asks_method and scope.get("method") == "OPTIONS"
