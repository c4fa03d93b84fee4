"""Consul from the distribution's archive, for machines where nobody installed it.

Nothing is installed and no root is needed: apt runs with lists, cache and sources of its own in a
temporary folder, and only the one program of the package is kept. What the machine's owner set for
apt (proxies, credentials, certificates) still holds.
"""

import contextlib
import fcntl
import os
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
    parse_os_release,
    private_source,
)

STEP_TIMEOUT = 120.0  # seconds for each of three steps; all of them take 3-15 s together

# Read after the machine's own configuration, so it has the last word.
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
APT::Sandbox::User "root";  // else root's apt fetches as a user who may not enter our folder
APT::Update::Error-Mode "any";  // else an archive out of reach is a success without packages
// The machine's hooks clean its caches and refresh its desktop: not after an update of ours.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class ArchiveFailed(RuntimeError):
    """The distribution's archive did not give us Consul; the message says at which step."""


def find_source(etc: Path) -> tuple[Distribution, AptEntry]:
    """Return the machine's distribution and the apt entry of its archive, as found below `etc`.

    Raises ArchiveFailed on another system, and when no entry looks like the archive.
    """
    try:
        release = parse_os_release((etc / "os-release").read_text())
    except OSError:
        release = {}
    name = release.get("ID", "unknown")
    distribution = next((d for d in DISTRIBUTIONS if d.id == name), None)
    if distribution is None:
        known = " or ".join(d.id for d in DISTRIBUTIONS)
        raise ArchiveFailed(f"this system is {name!r}, not {known}")
    entries: list[AptEntry] = []
    for path in [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]:
        if path.is_file() and path.suffix in {".list", ".sources"}:
            parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
            with contextlib.suppress(PermissionError):  # kept private for a password in it
                entries.extend(parse(path.read_text(errors="replace")))
    entry = choose_entry(entries, distribution, release.get("VERSION_CODENAME", ""))
    if entry is None:
        raise ArchiveFailed(
            f"none of the {len(entries)} entries we may read in {etc / 'apt'} "
            f"is {name}'s main archive"
        )
    return distribution, entry


def fetch_consul(
    target: Path, *, etc: Path = Path("/etc"), say: Callable[[str], None] | None = None
) -> Path:
    """Put the archive's Consul at `target` and return `target`; takes about 15 s.

    Several processes may ask at once: one fetches, the others wait for it. Raises ArchiveFailed.
    """
    distribution, entry = find_source(etc)
    if say:
        say("fetching Consul from the distribution's archive (once, about 15 s)")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f"{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go of by the kernel if we die
            if not target.exists():
                _fetch(target, distribution, entry)
    except OSError as error:
        raise ArchiveFailed(f"could not write to {target.parent}: {error}") from error
    return target


def _fetch(target: Path, distribution: Distribution, entry: AptEntry) -> None:
    # Beside the target, so that moving it there is one atomic rename.
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
        raise ArchiveFailed(f"there is no {argv[0]}")
    try:
        done = subprocess.run(
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
    if done.returncode != 0:
        raise ArchiveFailed(f"{step} failed: {' | '.join(done.stdout.splitlines()[-3:])}")
