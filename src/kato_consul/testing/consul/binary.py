"""Consul's program for tests and development: where it is searched for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from kato_consul.testing.apt_archive import Packages, keep_file
from kato_consul.testing.apt_sources import Release
from kato_consul.testing.programs import Program, find_program


class ConsulNotFound(RuntimeError):
    """No usable Consul program; the message names every place searched and what to do."""


CONSUL = Program(
    title="Consul",
    name="consul",
    variable="CONSUL_BIN",
    version="version",
    output="Consul v",
    packages=Packages(
        title="Consul",
        names=("consul",),
        releases={
            # Tested on bookworm: Consul 1.8.7, the last version that Debian packaged, runs there.
            "debian": Release("bullseye"),
            # Not tested: jammy is the newest release known to contain Consul (1.8.7).
            "ubuntu": Release("jammy", "universe"),
        },
        install=keep_file("usr/bin/consul"),
    ),
    not_found=ConsulNotFound,
)


def find_consul(
    *,
    environ: Mapping[str, str] | None = None,
    etc: Path = Path("/etc"),
    on_progress: Callable[[str], None] | None = None,
) -> Path:
    """Return the path of a Consul program that works; fetch one if there is none.

    Args:
        environ: read for CONSUL_BIN, PATH, XDG_CACHE_HOME and HOME; None: the process's own.
        etc: the folder with apt's sources in ``apt/``.
        on_progress: called with a line of text before a fetch, which takes about 15 s, once.

    Raises:
        ConsulNotFound: there is no usable program.
    """
    return find_program(CONSUL, environ=environ, etc=etc, on_progress=on_progress)
