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

REDIS_PORT = 6379


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What callers get from a proxy, and what it asks of them.

    ``instances`` is a hash of where it finds them, ``directory`` one of its session directory:
    their URLs may have passwords.
    """

    service: str
    tls: bool
    prefix: str
    asks: str
    instances: str
    directory: str

    @classmethod
    def of(cls, options: ServerOptions, settings: Settings) -> Self:
        """Return that of this process."""
        return cls(
            service=settings.service,
            tls=options.tls_cert is not None,
            prefix=options.prefix,
            asks=_asks(options),
            instances=_hash(settings.uses_consul and settings.consul_address, *settings.kato_urls),
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
        if self.asks != other.asks:
            return f"asks callers for {self.asks}, and this one for {other.asks}"
        if self.instances != other.instances:
            return "finds its instances elsewhere than this one (CONSUL_HTTP_ADDR, KATO_URL)"
        if self.directory != other.directory:
            return "has another session directory than this one"
        return ""


def _scheme(tls: bool) -> str:
    return "https" if tls else "http"


def _asks(options: ServerOptions) -> str:
    """Return what callers have to have."""
    asked = [
        name
        for name, given in (("keys", options.api_keys), ("certificates", options.client_ca))
        if given is not None
    ]
    return " and ".join(asked) or "nothing"


def _hash_of_directory(directory: Secret | str | None) -> str:
    """Return the hash of a directory's URL without user and password, which may change."""
    if directory is None:
        return ""
    url = urlsplit(directory.reveal() if isinstance(directory, Secret) else directory)
    if not url.netloc:
        return _hash(url.path)
    return _hash(url.scheme, url.hostname, url.port or REDIS_PORT, url.path.strip("/") or "0")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
