"""Files of a gateway: what is rendered from a pool, and where each one goes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from kato_consul.errors import ConfigurationError
from kato_consul.gateways.envoy_clusters import envoy_clusters
from kato_consul.gateways.kinds import ENVOY, Gateway, check_envoy_clusters
from kato_consul.gateways.placing import Placement, command_check
from kato_consul.gateways.pool import GatewayPool
from kato_consul.gateways.rendering import Template
from kato_consul.models import is_host_name
from kato_consul.settings import Settings

LONGEST_IDENTIFIER = 20
"""Characters of `identifier`. nginx names groups of patterns after it, which have at most 32."""

NO_CHECK = "none"


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


@dataclass(frozen=True)
class ConfigFile:
    """One file: how it is rendered, and where it goes."""

    render: Callable[[GatewayPool], str]
    placement: Placement


def gateway_files(
    gateway: Gateway, out: Path, options: GatewayOptions, settings: Settings
) -> tuple[ConfigFile, ...]:
    """Return the files of a gateway, in the order in which they are put in place.

    Args:
        gateway: the kind of gateway.
        out: the configuration file.
        options: what it is made with.
        settings: the service; and for instances with https, their CA and the client certificate.

    Raises:
        ConfigurationError: the template cannot be read, or an option cannot be used with this
            gateway.
    """
    if options.keys and not gateway.hashes_keys:
        raise ConfigurationError(
            f"--api-keys: {gateway.title} cannot compare the hashes of keys. Let it route to "
            f"proxies that do (kato-consul proxy --api-keys; here --to proxies)"
        )
    if options.rate_limit and not gateway.limits_callers:
        raise ConfigurationError(
            f"--rate-limit: {gateway.title} counts all callers together. Let it route to proxies, "
            f"which have limits for each key (here --to proxies)"
        )
    clusters = out.with_name(f"{out.stem}.clusters.json").absolute()
    values = template_values(options, settings, clusters)
    check = _check_of(gateway, options.check)
    main = ConfigFile(
        _renderer(gateway, options.template, values), Placement(out, check, options.reload)
    )
    if gateway is not ENVOY:
        return (main,)
    name, tls = values["ident"], values["tls"]
    # Before the file that names it. A check of the user's own is for that one.
    return (
        ConfigFile(
            lambda pool: envoy_clusters(pool, name, tls),
            Placement(clusters, check_envoy_clusters if options.check is None else None),
        ),
        main,
    )


def template_values(options: GatewayOptions, settings: Settings, clusters: Path) -> dict[str, Any]:
    """Return the variables of templates, but for the pool. docs/gateways.md has all of them."""
    return {
        "service": settings.service,
        "ident": identifier(settings.service),
        "listen": options.listen,
        "prefix": options.prefix,
        "rate_limit": options.rate_limit,
        "keys": options.keys,
        "tls": tls_values(settings),
        "clusters_path": clusters,
    }


def identifier(service: str) -> str:
    """Return a name for what a configuration defines: letters, digits and ``_``, 20 at most."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", service)
    if not name[0].isalpha():
        name = f"kato_{name}"
    if len(name) > LONGEST_IDENTIFIER:
        name = f"{name[: LONGEST_IDENTIFIER - 9]}_{crc32(service.encode()):08x}"
    return name


def tls_values(settings: Settings) -> Mapping[str, Any]:
    """Return how the gateway connects to instances with https, from the settings of clients."""
    return {
        "verify": settings.kato_verify,
        "cacert": settings.kato_cacert,
        "client_cert": settings.kato_client_cert,
        "client_key": settings.kato_client_key or settings.kato_client_cert,
        "server_name": settings.kato_tls_server_name,
    }


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


def _renderer(
    gateway: Gateway, file: Path | None, values: Mapping[str, Any]
) -> Callable[[GatewayPool], str]:
    if file is None:
        source, name = gateway.template_source(), gateway.template
    else:
        try:
            source, name = file.read_text("utf-8"), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--template {file}: {error}") from None
    template = Template(source, name, gateway.quote)
    return lambda pool: template.render({**values, "pool": pool})


def _check_of(gateway: Gateway, check: str | None) -> Callable[[Path], list[str]] | None:
    if check is None:
        return gateway.check
    return None if check == NO_CHECK else command_check(check)
