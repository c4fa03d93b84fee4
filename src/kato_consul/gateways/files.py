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
from kato_consul.gateways.options import GatewayOptions
from kato_consul.gateways.placing import Placement, command_check
from kato_consul.gateways.pool import GatewayPool
from kato_consul.gateways.rendering import Template
from kato_consul.settings import Settings

LONGEST_IDENTIFIER = 20
"""Characters of `identifier`. nginx names groups of patterns after it, which have at most 32."""

NO_CHECK = "none"


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
