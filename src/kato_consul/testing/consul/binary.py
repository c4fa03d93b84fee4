"""Where a Consul program comes from when a test or a developer needs one.

In this order: the one named by CONSUL_BIN, the one on the PATH, the one we fetched before, and one
from the distribution's archive. CONSUL_BIN is an order: if it cannot be used that is an error, for
a silent fallback would test something else than what was asked for.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from kato_consul.testing.consul.apt_archive import ArchiveFailed, fetch_consul

ANSWER_TIMEOUT = 20.0  # seconds for `consul version`, which takes 0.1 s on an idle machine


class ConsulNotFound(RuntimeError):
    """No usable Consul program; the message names every way tried and what to do."""


def find_consul(
    *,
    environ: Mapping[str, str] | None = None,
    etc: Path = Path("/etc"),
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return the path of a Consul program that was seen to work; fetch one if need be.

    `environ` is read for CONSUL_BIN, PATH, XDG_CACHE_HOME and HOME (None: the process's own);
    `etc` is where the system describes itself and its apt sources; `say` is called with one line
    before something takes long (fetching: about 15 s, once). Raises ConsulNotFound.
    """
    environ = os.environ if environ is None else environ
    tried: list[str] = []

    if named := environ.get("CONSUL_BIN"):
        if problem := why_unusable(Path(named)):
            raise ConsulNotFound(
                f"CONSUL_BIN names {named!r}, which {problem}; "
                "set it to a Consul program, or unset it to have one looked for"
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
        fetched = fetch_consul(cached, etc=etc, say=say)
    except ArchiveFailed as error:
        tried.append(f"the distribution's archive: {error}")
    else:
        if not (problem := why_unusable(fetched)):
            return fetched
        tried.append(f"the distribution's archive: {fetched} {problem}; remove it to fetch anew")

    ways = "\n".join(f"  - {way}" for way in ["CONSUL_BIN: not set", *tried])
    raise ConsulNotFound(
        f"found no Consul program:\n{ways}\n"
        "Install Consul so that it is on the PATH, or set CONSUL_BIN to a Consul program."
    )


def cache_file(environ: Mapping[str, str]) -> Path:
    """Return where a fetched Consul is kept, by the XDG base directory specification."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # unset, empty or relative: the specification says to ignore it
        cache = Path(environ.get("HOME") or Path.home()) / ".cache"
    return cache / "kato-consul" / "consul"


def why_unusable(program: Path) -> str | None:
    """Return what is wrong with `program` as a Consul, or None when it answers as one."""
    if not program.exists():
        return "does not exist"
    if not program.is_file() or not os.access(program, os.X_OK):
        return "is not an executable file"
    try:
        answer = subprocess.run(
            [str(program.absolute()), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not answer `version` within {ANSWER_TIMEOUT:g} s"
    except OSError as error:
        return f"could not be run ({error.strerror})"
    if answer.returncode != 0 or not answer.stdout.startswith("Consul v"):
        return f"does not answer `version` as Consul does (exit status {answer.returncode})"
    return None
