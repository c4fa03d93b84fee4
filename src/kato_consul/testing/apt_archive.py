"""Programs from the distribution's archive, for machines on which they are not installed.

Nothing is installed and no root is needed: apt runs with its own lists, cache and sources in a
temporary folder, and only the program is kept from its packages. The machine's settings for apt
(proxies, credentials, certificates) still apply.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kato_consul.testing.apt_sources import (
    DISTRIBUTIONS,
    AptEntry,
    Distribution,
    Release,
    choose_entry,
    parse_deb822,
    parse_one_line,
    private_source,
)

STEP_TIMEOUT = 120.0  # seconds for each of three steps, which take 3-15 s in total

# Read after the machine's own configuration, so it takes precedence.
CONFIG = """
Dir::Etc::sourcelist "{folder}/archive.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::State::status "/dev/null";  // otherwise the version that is installed would be downloaded
Dir::Cache "{folder}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
APT::Sandbox::User "root";  // otherwise apt as root uses an account that cannot enter the folder
APT::Update::Error-Mode "any";  // otherwise an unreachable archive is a success without packages
// The machine's hooks clean its caches and refresh its desktop, which this update must not do.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class ArchiveFailed(RuntimeError):
    """A program could not be fetched from the distribution's archive; the message names the
    step."""


@dataclass(frozen=True)
class Packages:
    """The packages of a program.

    ``releases`` are those that contain it, by the distribution's id. ``install`` is called with the
    folder in which they are unpacked, and a path at which it creates what is kept.
    """

    title: str
    names: tuple[str, ...]
    releases: Mapping[str, Release]
    install: Callable[[Path, Path], None]


def find_source(etc: Path, supported: Iterable[str]) -> tuple[Distribution, AptEntry]:
    """Return the machine's distribution and the apt entry of its archive, read from `etc`.

    Raises ArchiveFailed if it is none of the supported ones, and if no entry is the archive's.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    name = release.get("ID", "unknown")
    distribution = next((d for d in DISTRIBUTIONS if d.id == name), None)
    if distribution is None or name not in supported:
        raise ArchiveFailed(f"this system is {name!r}, not {' or '.join(supported)}")
    entries: list[AptEntry] = []
    for path in [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix in {".list", ".sources"}:
            parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
            with contextlib.suppress(PermissionError):  # not readable because of a password in it
                entries.extend(parse(path.read_text(errors="replace")))
    entry = choose_entry(entries, distribution, release.get("VERSION_CODENAME", ""))
    if entry is None:
        raise ArchiveFailed(
            f"none of the {len(entries)} readable entries in {etc / 'apt'} is {name}'s main archive"
        )
    return distribution, entry


def fetch(
    packages: Packages,
    target: Path,
    *,
    etc: Path = Path("/etc"),
    on_progress: Callable[[str], None] | None = None,
) -> Path:
    """Fetch the archive's program to `target` and return `target`; takes about 15 s.

    Several processes may call this at once: one fetches, the others wait. Raises ArchiveFailed.
    """
    distribution, entry = find_source(etc, packages.releases)
    if on_progress:
        on_progress(f"fetching {packages.title} from the distribution's archive (once, about 15 s)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f"{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel if this process dies
            if not target.exists():
                _fetch(packages, target, distribution, entry)
    except OSError as error:
        raise ArchiveFailed(f"could not write to {target.parent}: {error}") from error
    return target


def _fetch(packages: Packages, target: Path, distribution: Distribution, entry: AptEntry) -> None:
    # In the target's folder, so that moving the program is one atomic rename.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        keyring = distribution.keyring if distribution.keyring.exists() else None
        source = private_source(entry, packages.releases[distribution.id], keyring)
        (folder / "archive.sources").write_text(source)
        (folder / "apt.conf").write_text(CONFIG.format(folder=folder))
        apt = ["apt-get", "-q", "-c", str(folder / "apt.conf")]
        _run([*apt, "update"], folder)
        _run([*apt, "download", *packages.names], folder)
        for package in packages.names:
            file = next(folder.glob(f"{package}_*.deb"), None)
            if file is None:
                raise ArchiveFailed(f"apt-get downloaded no package {package}")
            _run(["dpkg", "-x", str(file), str(folder / "unpacked")], folder)
        packages.install(folder / "unpacked", folder / "installed")
        (folder / "installed").replace(target)


def keep_file(path: str) -> Callable[[Path, Path], None]:
    """Return an `install` that keeps one file of the packages."""

    def install(unpacked: Path, kept: Path) -> None:
        if not (unpacked / path).is_file():
            raise ArchiveFailed(f"the package has no /{path}")
        (unpacked / path).replace(kept)

    return install


START = """#!/bin/sh
folder="$(dirname "$0")"
LD_LIBRARY_PATH="$folder/lib" exec "$folder/bin/{name}" "$@"
"""


def keep_with_libraries(path: str, name: str) -> Callable[[Path, Path], None]:
    """Return an `install` that keeps a program and its libraries, and a script that starts it with
    them, all under the program's ``name``: small images lack some of what it is linked with."""

    def install(unpacked: Path, kept: Path) -> None:
        if not (unpacked / path).is_file():
            raise ArchiveFailed(f"the package has no /{path}")
        for folder in ("bin", "lib"):
            (kept / folder).mkdir(parents=True)
        (unpacked / path).replace(kept / "bin" / name)
        for library in (*unpacked.glob("usr/lib/*/*.so*"), *unpacked.glob("lib/*/*.so*")):
            if library.exists():  # else a link to what is in a package that is not fetched
                shutil.copy(library, kept / "lib", follow_symlinks=False)
        script = kept / name
        script.write_text(START.format(name=name))
        script.chmod(0o755)

    return install


def _run(argv: Sequence[str], folder: Path) -> None:
    step = " ".join([argv[0], *(word for word in argv[1:5] if word.isalpha())])
    if shutil.which(argv[0]) is None:
        raise ArchiveFailed(f"there is no program {argv[0]}")
    try:
        completed = subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ArchiveFailed(f"{step} took longer than {STEP_TIMEOUT:g} s") from error
    if completed.returncode != 0:
        raise ArchiveFailed(f"{step} failed: {' | '.join(completed.stdout.splitlines()[-3:])}")
