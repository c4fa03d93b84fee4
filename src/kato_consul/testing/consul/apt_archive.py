"""Consul from the distribution's archive, for machines without an installed one.

Nothing is installed and no root is needed: apt runs with its own lists, cache and sources in a
temporary folder, and only the program is kept from the package. The machine's settings for apt
(proxies, credentials, certificates) still apply.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kato_consul.testing.consul.apt_sources import (
    DISTRIBUTIONS,
    AptEntry,
    Distribution,
    choose_entry,
    parse_deb822,
    parse_one_line,
    private_source,
)

STEP_TIMEOUT = 120.0  # seconds for each of three steps, which take 3-15 s in total

# Read after the machine's own configuration, so it takes precedence.
CONFIG = """
Dir::Etc::sourcelist "{folder}/consul.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{folder}/lists";
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
    """Consul could not be fetched from the distribution's archive; the message names the step."""


def find_source(etc: Path) -> tuple[Distribution, AptEntry]:
    """Return the machine's distribution and the apt entry of its archive, read from `etc`.

    Raises ArchiveFailed on another system, and if no entry is the archive's.
    """
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    name = release.get("ID", "unknown")
    distribution = next((d for d in DISTRIBUTIONS if d.id == name), None)
    if distribution is None:
        supported = " or ".join(d.id for d in DISTRIBUTIONS)
        raise ArchiveFailed(f"this system is {name!r}, not {supported}")
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


def fetch_consul(
    target: Path, *, etc: Path = Path("/etc"), on_progress: Callable[[str], None] | None = None
) -> Path:
    """Fetch the archive's Consul to `target` and return `target`; takes about 15 s.

    Several processes may call this at once: one fetches, the others wait. Raises ArchiveFailed.
    """
    distribution, entry = find_source(etc)
    if on_progress:
        on_progress("fetching Consul from the distribution's archive (once, about 15 s)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f"{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel if this process dies
            if not target.exists():
                _fetch(target, distribution, entry)
    except OSError as error:
        raise ArchiveFailed(f"could not write to {target.parent}: {error}") from error
    return target


def _fetch(target: Path, distribution: Distribution, entry: AptEntry) -> None:
    # In the target's folder, so that moving the program is one atomic rename.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        keyring = distribution.keyring if distribution.keyring.exists() else None
        source = private_source(entry, distribution, keyring)
        (folder / "consul.sources").write_text(source)
        (folder / "apt.conf").write_text(CONFIG.format(folder=folder))
        apt = ["apt-get", "-q", "-c", str(folder / "apt.conf")]
        _run([*apt, "update"], folder)
        _run([*apt, "download", "consul"], folder)
        package = next(folder.glob("consul_*.deb"), None)
        if package is None:
            raise ArchiveFailed("apt-get downloaded no package")
        _run(["dpkg", "-x", str(package), str(folder / "package")], folder)
        program = folder / "package/usr/bin/consul"
        if not program.is_file():
            raise ArchiveFailed("the package has no /usr/bin/consul")
        program.replace(target)


def _run(argv: Sequence[str], folder: Path) -> None:
    step = " ".join([argv[0], *(word for word in argv[1:] if word.isalpha())])
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
