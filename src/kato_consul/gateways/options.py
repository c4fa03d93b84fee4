"""Options of a gateway's configuration, and how they are written on the command line."""

import re
from dataclasses import dataclass
from pathlib import Path

from kato_consul.errors import ConfigurationError
from kato_consul.models import is_host_name


@dataclass(frozen=True)
class Listen:
    """Where a gateway listens: ``host:port``, with brackets around an IPv6 address."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ApiKey:
    """A key that callers may have: its name, and the SHA-256 of it, as 64 hexadecimal digits."""

    name: str
    sha256: str


@dataclass(frozen=True)
class GatewayOptions:
    """What a configuration is made with, besides the instances.

    Attributes:
        listen: Where callers connect.
        prefix: The path under which KATO's API is, such as ``/kato``; it is removed. Or empty.
        rate_limit: Requests a second that a caller may send; 0: any number.
        keys: The keys that callers may have; empty: none is asked for.
        template: A template to use instead of the package's own.
        check: A command that checks a file, ``{file}``; ``none``: no check; None: the gateway's
            own program.
        reload: A command line with which the gateway reads the file again.
    """

    listen: Listen = Listen("127.0.0.1", 8000)
    prefix: str = ""
    rate_limit: int = 0
    keys: tuple[ApiKey, ...] = ()
    template: Path | None = None
    check: str | None = None
    reload: str | None = None


def parse_listen(text: str) -> Listen:
    """Return where a gateway listens, from ``host:port`` or ``[ipv6]:port``.

    Raises:
        ConfigurationError: it is neither.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_ipv6 = bare != host and re.fullmatch(r"[0-9A-Fa-f:.]+", bare) is not None
    if not (is_ipv6 or is_host_name(bare)) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ConfigurationError(f"--listen {text!r}: write host:port, such as 0.0.0.0:8000")
    if not 0 < int(port) < 65_536:
        raise ConfigurationError(f"--listen {text!r}: a port is from 1 to 65535")
    return Listen(bare, int(port))


def parse_prefix(text: str) -> str:
    """Return a path prefix without a slash at its end.

    Raises:
        ConfigurationError: it is not like ``/kato``.
    """
    prefix = text.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9_~-]+)*", prefix):
        raise ConfigurationError(f"--prefix {text!r}: write it like /kato")
    return prefix


def read_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read the keys of a file: lines ``NAME SHA256HEX``; ``#`` begins a comment.

    Raises:
        ConfigurationError: it cannot be read, or a line is not like this. The message has no key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--api-keys {path}: {error}") from None
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not re.fullmatch(r"[0-9A-Fa-f]{64}", words[1]):
            raise ConfigurationError(
                f"--api-keys {path}, line {number}: write NAME SHA256HEX, the 64 digits of "
                f"`printf %s KEY | sha256sum`"
            )
        keys.append(ApiKey(words[0], words[1].lower()))
    if not keys:
        raise ConfigurationError(f"--api-keys {path}: it has no key, so every request is refused")
    return tuple(keys)
