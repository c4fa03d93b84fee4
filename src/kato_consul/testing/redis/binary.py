"""Redis' server program for tests: where it is searched for."""

from kato_consul.testing.apt_archive import Packages, keep_with_libraries
from kato_consul.testing.apt_sources import Release
from kato_consul.testing.programs import Program


class RedisNotFound(RuntimeError):
    """No usable Redis program; the message names every place searched and what to do."""


SERVER = "usr/bin/redis-check-rdb"  # Debian's redis-server is a link to it, in another package

LIBRARIES = (
    *("libatomic1", "libcap2", "libgcc-s1", "libgcrypt20", "libgpg-error0", "libjemalloc2"),
    *("liblz4-1", "liblzf1", "liblzma5", "libssl3", "libstdc++6", "libsystemd0", "libzstd1"),
)
"""What the server is linked with, but for the C library: small images lack some of it."""

REDIS = Program(
    title="Redis",
    name="redis-server",
    variable="KATO_CONSUL_REDIS_BINARY",
    version="--version",
    output="Redis server v=",
    packages=Packages(
        title="Redis",
        names=("redis-tools", *LIBRARIES),
        releases={"debian": Release("bookworm")},  # 7.0; that of bullseye is linked otherwise
        # It checks a file instead of serving if it has the other name.
        install=keep_with_libraries(SERVER, "redis-server"),
    ),
    not_found=RedisNotFound,
    cached="redis-server",
)
