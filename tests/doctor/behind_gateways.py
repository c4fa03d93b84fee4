"""Configurations of gateways in front of servers of a test, from the package's own templates."""

from collections.abc import Mapping
from pathlib import Path

from kato_consul import Settings
from kato_consul.gateways import GATEWAYS, GatewayOptions, Listen, gateway_files, gateway_pool
from kato_consul.models import Instance, Snapshot
from kato_consul.testing.ports import HOST


def write_configuration(
    kind: str,
    folder: Path,
    port: int,
    servers: Mapping[str, int],
    replaced: Mapping[str, str] | None = None,
) -> Path:
    """Write the configuration of a gateway that listens on a port; return its path.

    ``servers`` maps ids to ports on this machine. ``replaced`` are texts of the configuration.
    """
    options = GatewayOptions(Listen(HOST, port), check="none")
    instances = tuple(Instance(name, "kato", HOST, number) for name, number in servers.items())
    pool = gateway_pool(Snapshot("kato", instances))
    path = folder / "gateway.yaml"
    for file in gateway_files(GATEWAYS[kind], path, options, Settings(trust_env=False)):
        text = file.render(pool)
        for before, after in (replaced or {}).items():
            text = text.replace(before, after)
        file.placement.place(text)
    return path
