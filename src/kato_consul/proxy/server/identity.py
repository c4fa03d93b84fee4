"""Identity of a proxy: what two that serve one address have to agree on.

The kernel gives a connection to either of them, so that a caller would get one or the other.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self
from urllib.parse import urlsplit

from kato_consul._secret import Secret
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What callers get from a proxy. ``directory`` is a hash: its URL may have a password."""

    service: str
    tls: bool
    prefix: str
    directory: str

    @classmethod
    def of(cls, options: ServerOptions, settings: Settings) -> Self:
        """Return that of this process."""
        return cls(
            service=settings.service,
            tls=options.tls_cert is not None,
            prefix=options.prefix,
            directory=_hash_of_directory(settings.session_directory),
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Return what `encode` has encoded; a ValueError or TypeError if that is not what it is."""
        return cls(**json.loads(encoded))

    def encode(self) -> bytes:
        """Return it as JSON, a few hundred bytes."""
        return json.dumps(asdict(self)).encode()

    def difference(self, other: Self) -> str:
        """Return what this one has, and another one has not; "" if both serve the same."""
        if self.service != other.service:
            return f"serves the service {self.service}, and this one {other.service}"
        if self.tls != other.tls:
            return f"serves {_scheme(self.tls)}, and this one {_scheme(other.tls)}"
        if self.prefix != other.prefix:
            return f"serves below {self.prefix or '/'}, and this one below {other.prefix or '/'}"
        if self.directory != other.directory:
            return "has another session directory than this one"
        return ""


def _scheme(tls: bool) -> str:
    return "https" if tls else "http"


def _hash_of_directory(directory: Secret | str | None) -> str:
    """Return the hash of a directory's URL without user and password, which may change."""
    if directory is None:
        return ""
    url = urlsplit(directory.reveal() if isinstance(directory, Secret) else directory)
    place = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    return hashlib.sha256(place.encode()).hexdigest()[:32]
