"""Search for a program for tests and development: Consul, Redis, nginx, HAProxy.

Searched in this order: the environment variable that names it, the PATH, the cache of fetched
programs, the distribution's archive. If the variable is set but cannot be used, that is an error: a
silent fallback would test another program than the one configured.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kato_consul.testing.apt_archive import ArchiveFailed, Packages, fetch

VERSION_TIMEOUT = 20.0  # seconds for a program's version, which takes 0.1 s on an idle machine


@dataclass(frozen=True)
class Program:
    """A program, and how it is found.

    ``version`` is the argument with which it prints its version, to standard output or error;
    ``output`` is what that begins with.
    ``cached`` is its path in what is kept of its packages; "" if that is the program itself.
    """

    title: str
    name: str
    variable: str
    version: str
    output: str
    packages: Packages
    not_found: type[RuntimeError]
    cached: str = ""


def find_program(
    program: Program,
    *,
    environ: Mapping[str, str] | None = None,
    etc: Path = Path("/etc"),
    on_progress: Callable[[str], None] | None = None,
) -> Path:
    """Return the path of a program that works; fetch it if there is none.

    Args:
        program: what is searched for.
        environ: read for its variable, PATH, XDG_CACHE_HOME and HOME; None: the process's own.
        etc: the folder with apt's sources in ``apt/``.
        on_progress: called with a line of text before a fetch, which takes about 15 s, once.

    Raises:
        RuntimeError: there is no usable program; of the type ``not_found``.
    """
    environ = os.environ if environ is None else environ
    title, variable = program.title, program.variable
    tried: list[str] = []

    if named := environ.get(variable):
        if problem := why_unusable(program, Path(named)):
            raise program.not_found(
                f"{variable} names {named!r}, which {problem}; "
                f"set it to a {title} program, or unset it to search for one"
            )
        return Path(named).absolute()

    on_path = shutil.which(program.name, path=environ.get("PATH", os.defpath))
    if on_path is None:
        tried.append(f"PATH: no program called {program.name}")
    elif problem := why_unusable(program, Path(on_path)):
        tried.append(f"PATH: {on_path} {problem}")
    else:
        return Path(on_path).absolute()

    kept = cache_file(program, environ)
    cached = kept / program.cached
    if not (problem := why_unusable(program, cached)):
        return cached
    tried.append(f"cache: {cached} {problem}")

    try:
        fetch(program.packages, kept, etc=etc, on_progress=on_progress)
    except ArchiveFailed as error:
        tried.append(f"the distribution's archive: {error}")
    else:
        if not (problem := why_unusable(program, cached)):
            return cached
        tried.append(f"the distribution's archive: {cached} {problem}; remove it to fetch again")

    ways = "\n".join(f"  - {way}" for way in [f"{variable}: not set", *tried])
    raise program.not_found(
        f"found no {title} program:\n{ways}\n"
        f"Install {title} so that it is on the PATH, or set {variable} to a {title} program."
    )


def cache_file(program: Program, environ: Mapping[str, str]) -> Path:
    """Return where a fetched program is kept, by the XDG base directory specification."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # unset, empty or relative: ignored, as the specification says
        cache = Path(environ.get("HOME") or Path.home()) / ".cache"
    return cache / "kato-consul" / program.title.lower()


def why_unusable(program: Program, path: Path) -> str | None:
    """Return the reason why `path` is no such program that works, or None if it is one."""
    if not path.exists():
        return "does not exist"
    if not path.is_file() or not os.access(path, os.X_OK):
        return "is not an executable file"
    try:
        completed = subprocess.run(
            [str(path.absolute()), program.version],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not finish `{program.version}` within {VERSION_TIMEOUT:g} s"
    except OSError as error:
        return f"could not be run ({error.strerror})"
    printed = completed.stdout or completed.stderr  # nginx's is on standard error
    if completed.returncode != 0 or not printed.startswith(program.output):
        status = completed.returncode
        return f"does not print a {program.title} version (exit status {status})"
    return None
