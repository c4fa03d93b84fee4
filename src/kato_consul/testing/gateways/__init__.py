"""Real gateways for tests: nginx, HAProxy and Envoy."""

from kato_consul.testing.gateways.binaries import HAPROXY, NGINX, GatewayNotFound, find_envoy
from kato_consul.testing.gateways.servers import (
    EnvoyServer,
    GatewayFailed,
    GatewayProgram,
    HaproxyServer,
    NginxServer,
)

__all__ = [
    "HAPROXY",
    "NGINX",
    "EnvoyServer",
    "GatewayFailed",
    "GatewayNotFound",
    "GatewayProgram",
    "HaproxyServer",
    "NginxServer",
    "find_envoy",
]
