"""Identity of a proxy: what two that serve one address have to agree on.

The kernel gives a connection to either of them, so that a caller would get one or the other.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self

import msgspec

from kato_consul._addresses import instance_url
from kato_consul._directory.redis_url import check_redis, redis_name, uses_tls
from kato_consul._discovery.snapshot_codec import query_fingerprint
from kato_consul._secret import Secret
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What callers get from a proxy, and what it asks of them.

    ``instances`` is a hash of the settings that decide which ones it uses, ``directory`` one of
    where its session directory is: both can be long. No secret is part of them.
    """

    service: str
    tls: bool
    prefix: str
    asks: str
    instances: str
    directory: str

    @classmethod
    def of(cls, options: ServerOptions, settings: Settings) -> Self:
        """Return that of this process.

        Raises:
            ConfigurationError: the session directory cannot be used.
        """
        return cls(
            service=settings.service,
            tls=options.tls_cert is not None,
            prefix=options.prefix,
            asks=_asks(options),
            instances=_hash_of_instances(settings),
            directory=_hash_of_directory(settings.session_directory),
        )

    @staticmethod
    def decode(encoded: bytes) -> "Identity | None":
        """Return what `encode` has encoded; None if another version of the program has, with which
        this one cannot compare it. A field that only the other version knows is ignored."""
        try:
            return _decoder.decode(encoded)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

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
            return (
                "may use other instances than this one (CONSUL_HTTP_ADDR, KATO_URL, "
                "CONSUL_NAMESPACE, tags, or another setting that selects them)"
            )
        if self.directory != other.directory:
            return "has another session directory than this one"
        return ""


_decoder = msgspec.json.Decoder(Identity)


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


def _hash_of_instances(settings: Settings) -> str:
    """Return the hash of what selects instances, however it is written."""
    static = sorted({instance_url(url) for url in settings.kato_urls})
    if not settings.uses_consul:
        return _hash(static)
    agents = sorted(set(settings.consul_addresses))
    return _hash(static, agents, query_fingerprint(settings), settings.when_all_critical)


def _hash_of_directory(directory: Secret | str | None) -> str:
    """Return the hash of where a directory is, without user and password, which may change."""
    if not isinstance(directory, Secret):
        return _hash(directory)
    check_redis(directory)
    return _hash(redis_name(directory), uses_tls(directory))


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
