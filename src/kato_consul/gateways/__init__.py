"""Gateways in front of KATO: configurations of nginx, HAProxy, Envoy and Kong.

They are made from what Consul reports, again at each change there. The extra ``gateway`` is needed.

    settings = Settings(service="kato")
    files = gateway_files(GATEWAYS["nginx"], Path("kato.conf"), GatewayOptions(), settings)
    with Discovery(settings) as discovery:
        for report in follow(discovery, files):
            print(report.text)

`kato-consul gateway` is this as a command; docs/gateways.md has what the templates say, and why.
"""

from kato_consul.gateways.files import ConfigFile, gateway_files
from kato_consul.gateways.following import (
    GatewayEvent,
    GatewayReport,
    apply_snapshot,
    first_snapshot,
    follow,
)
from kato_consul.gateways.kinds import GATEWAYS, Gateway
from kato_consul.gateways.options import (
    ApiKey,
    GatewayOptions,
    Listen,
    parse_listen,
    parse_prefix,
    read_api_keys,
)
from kato_consul.gateways.placing import Placement, Rejected
from kato_consul.gateways.pool import GatewayPool, GatewayServer, gateway_pool

__all__ = [
    "GATEWAYS",
    "ApiKey",
    "ConfigFile",
    "Gateway",
    "GatewayEvent",
    "GatewayOptions",
    "GatewayPool",
    "GatewayReport",
    "GatewayServer",
    "Listen",
    "Placement",
    "Rejected",
    "apply_snapshot",
    "first_snapshot",
    "follow",
    "gateway_files",
    "gateway_pool",
    "parse_listen",
    "parse_prefix",
    "read_api_keys",
]
