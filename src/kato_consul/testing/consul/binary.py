"""Search for a Consul program for tests and development.

Searched in this order: CONSUL_BIN, the PATH, the cache of fetched programs, the distribution's
archive. If CONSUL_BIN is set but cannot be used, that is an error: a silent fallback would test
another Consul than the one configured.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from kato_consul.testing.consul.apt_archive import ArchiveFailed, fetch_consul
from kato_consul.testing.consul.config import VERSION_TIMEOUT


class ConsulNotFound(RuntimeError):
    """No usable Consul program; the message names every place searched and what to do."""


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
    environ = os.environ if environ is None else environ
    tried: list[str] = []

    if named := environ.get("CONSUL_BIN"):
        if problem := why_unusable(Path(named)):
            raise ConsulNotFound(
                f"CONSUL_BIN names {named!r}, which {problem}; "
                "set it to a Consul program, or unset it to search for one"
            )
        return Path(named).absolute()

    on_path = shutil.which("consul", path=environ.get("PATH", os.defpath))
    if on_path is None:
        tried.append("PATH: no program called consul")
    elif problem := why_unusable(Path(on_path)):
        tried.append(f"PATH: {on_path} {problem}")
    else:
        return Path(on_path).absolute()

    cached = cache_file(environ)
    if not (problem := why_unusable(cached)):
        return cached
    tried.append(f"cache: {cached} {problem}")

    try:
        fetched = fetch_consul(cached, etc=etc, on_progress=on_progress)
    except ArchiveFailed as error:
        tried.append(f"the distribution's archive: {error}")
    else:
        if not (problem := why_unusable(fetched)):
            return fetched
        tried.append(f"the distribution's archive: {fetched} {problem}; remove it to fetch again")

    ways = "\n".join(f"  - {way}" for way in ["CONSUL_BIN: not set", *tried])
    raise ConsulNotFound(
        f"found no Consul program:\n{ways}\n"
        "Install Consul so that it is on the PATH, or set CONSUL_BIN to a Consul program."
    )


def cache_file(environ: Mapping[str, str]) -> Path:
    """Return the file for a fetched Consul, by the XDG base directory specification."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # unset, empty or relative: ignored, as the specification says
        cache = Path(environ.get("HOME") or Path.home()) / ".cache"
    return cache / "kato-consul" / "consul"


def why_unusable(program: Path) -> str | None:
    """Return the reason why `program` is no usable Consul, or None if it is one."""
    if not program.exists():
        return "does not exist"
    if not program.is_file() or not os.access(program, os.X_OK):
        return "is not an executable file"
    try:
        completed = subprocess.run(
            [str(program.absolute()), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not finish `version` within {VERSION_TIMEOUT:g} s"
    except OSError as error:
        return f"could not be run ({error.strerror})"
    if completed.returncode != 0 or not completed.stdout.startswith("Consul v"):
        return f"does not print a Consul version (exit status {completed.returncode})"
    return None
