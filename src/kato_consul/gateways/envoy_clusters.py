"""Envoy's clusters: the file that changes with the instances. Envoy reads it again when it is
replaced, so nothing is reloaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kato_consul.gateways.pool import GatewayPool, GatewayServer

_TYPE = "type.googleapis.com/envoy"
_EXTENSIONS = f"{_TYPE}.extensions"

POINTS = 256
"""Points on the ring of an instance of the least weight."""

LARGEST_RING = 8_000_000

MANY = 10_000
"""Instead of limits that would refuse requests: by default Envoy refuses the fourth retry that is
made at a time, which an instance that dies exceeds at once."""


def envoy_clusters(pool: GatewayPool, name: str, tls: Mapping[str, Any]) -> str:
    """Return the clusters as JSON, which is YAML, too: one, with all instances."""
    cluster: dict[str, Any] = {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        # An address may be a name. One that is an IP address is not looked up.
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        # By the hash of a session's id; at random for requests without one.
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": _ring_size(pool)},
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": MANY,
                    "max_pending_requests": MANY,
                    "max_requests": MANY,
                    "max_retries": MANY,
                }
            ]
        },
        # No outlier detection: Consul decides which instances there are. One answer that is cut
        # would move all sessions of an instance, while others of their requests are in it.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                # KATO closes a connection that is idle for 5 s, and a request that is sent
                # meanwhile gets no answer.
                "common_http_protocol_options": {"idle_timeout": "4s"},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_endpoint(server) for server in pool.servers]}],
        },
    }
    if pool.scheme == "https":
        cluster["transport_socket"] = _tls_socket(tls)
    return json.dumps({"resources": [cluster]}, indent=1) + "\n"


def write_check(clusters: Path, config: Path) -> None:
    """Write a configuration that has the clusters of a file in itself: `envoy --mode validate` does
    not read those that are in a file of their own."""
    resources = json.loads(clusters.read_text("utf-8"))["resources"]
    for one in resources:
        del one["@type"]
    config.write_text(json.dumps({"static_resources": {"clusters": resources}}), encoding="utf-8")


def _ring_size(pool: GatewayPool) -> int:
    """Return the size with which each instance keeps its points if another one comes or leaves.

    Envoy's default is 1024 points for all together: then each gets more if one leaves, and sessions
    move between instances that stay.
    """
    weights = [server.weight for server in pool.servers]
    # Envoy rounds the points of the least weight up: half a point less, for its division.
    return min(int((POINTS - 0.5) * sum(weights) / min(weights)), LARGEST_RING)


def _endpoint(server: GatewayServer) -> dict[str, Any]:
    address = {"socket_address": {"address": server.address, "port_value": server.port}}
    return {
        "endpoint": {"address": address, "hostname": server.address},
        "load_balancing_weight": server.weight,
        # The place on the ring is the instance's, and not its address'.
        "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": server.name}}},
    }


def _tls_socket(tls: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    common: dict[str, Any] = {"alpn_protocols": ["http/1.1"]}
    validation: dict[str, Any] = {}
    if tls["verify"] and tls["cacert"]:
        validation["trusted_ca"] = {"filename": str(tls["cacert"])}
    elif tls["verify"]:
        validation["system_root_certs"] = {}
    if tls["server_name"]:
        context["sni"] = tls["server_name"]
        if tls["verify"]:
            validation["match_typed_subject_alt_names"] = [
                {"san_type": "DNS", "matcher": {"exact": tls["server_name"]}}
            ]
    else:
        context["auto_host_sni"] = True
        if tls["verify"]:
            context["auto_sni_san_validation"] = True
    if validation:
        common["validation_context"] = validation
    if tls["client_cert"]:
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": str(tls["client_cert"])},
                "private_key": {"filename": str(tls["client_key"])},
            }
        ]
    context["common_tls_context"] = common
    context["@type"] = f"{_EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
