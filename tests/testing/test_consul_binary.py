"""`find_consul`: the order of its search, and its errors."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from kato_consul.testing import apt_archive
from kato_consul.testing.apt_archive import ArchiveFailed, fetch, find_source
from kato_consul.testing.consul.binary import CONSUL, ConsulNotFound, find_consul
from kato_consul.testing.programs import cache_file, why_unusable

VERSION = 'echo "Consul v1.8.7"'
# Fake apt-get: logs its command and "downloads" a package.
APT_GET = 'echo "$4" >>"$LOG"; test "$4" = update || : >consul_1.8.7_any.deb'
BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}  # its os-release
# Fake dpkg: unpacks a package (`dpkg -x PACKAGE FOLDER`).
DPKG = f"""mkdir -p "$3/usr/bin"; P="$3/usr/bin/consul"
printf '#!/bin/sh\\n%s\\n' '{VERSION}' >"$P"; chmod +x "$P\""""


def script(path: Path, text: str) -> Path:
    """Create a program at `path` that runs `text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def unknown_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The /etc of a system with an unknown archive."""
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "plan9"})
    return tmp_path / "other-etc"


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The /etc of a Debian, with a fake apt-get and dpkg on the PATH."""
    etc = tmp_path / "etc"
    (etc / "apt/sources.list.d").mkdir(parents=True)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: BOOKWORM)
    (etc / "apt/sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    script(tmp_path / "bin/apt-get", APT_GET)
    script(tmp_path / "bin/dpkg", DPKG)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "apt-get.log"))
    return etc


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        ({"named", "on-path", "cached"}, "named/consul"),
        ({"on-path", "cached"}, "on-path/consul"),
        ({"cached"}, "cached/kato-consul/consul"),
        (set(), "cached/kato-consul/consul"),  # fetched into the cache
    ],
)
def test_search_order(available: set[str], expected: str, tmp_path: Path, debian: Path) -> None:
    """CONSUL_BIN comes before the PATH, the PATH before the cache, and the archive is last."""
    for folder in available:
        name = "kato-consul/consul" if folder == "cached" else "consul"
        script(tmp_path / folder / name, VERSION)
    environ = {"PATH": str(tmp_path / "on-path"), "XDG_CACHE_HOME": str(tmp_path / "cached")}
    if "named" in available:
        environ["CONSUL_BIN"] = str(tmp_path / "named/consul")
    messages: list[str] = []
    assert (
        find_consul(environ=environ, etc=debian, on_progress=messages.append) == tmp_path / expected
    )
    assert (tmp_path / "apt-get.log").exists() is (not available)
    assert bool(messages) is (not available)


def test_an_unusable_consul_bin_is_an_error(tmp_path: Path, unknown_system: Path) -> None:
    """An unusable CONSUL_BIN is an error, even if a usable program is on the PATH."""
    script(tmp_path / "bin/consul", VERSION)
    environ = {"PATH": str(tmp_path / "bin"), "CONSUL_BIN": "/nowhere/consul"}
    with pytest.raises(ConsulNotFound, match="CONSUL_BIN names '/nowhere/consul', which does not"):
        find_consul(environ=environ, etc=unknown_system)


def test_unusable_programs_are_skipped(tmp_path: Path, unknown_system: Path) -> None:
    """Another program called consul on the PATH does not hide a usable one in the cache."""
    script(tmp_path / "bin/consul", "echo I advise diplomats")
    cached = script(tmp_path / "cache/kato-consul/consul", VERSION)
    environ = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert find_consul(environ=environ, etc=unknown_system) == cached


def test_error_lists_the_whole_search(tmp_path: Path, unknown_system: Path) -> None:
    """If nothing is found, the error lists each place with its result, and what to do."""
    other = script(tmp_path / "bin/consul", "exit 3")
    environ = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(ConsulNotFound) as caught:
        find_consul(environ=environ, etc=unknown_system)
    assert str(caught.value).splitlines() == [
        "found no Consul program:",
        "  - CONSUL_BIN: not set",
        f"  - PATH: {other} does not print a Consul version (exit status 3)",
        f"  - cache: {tmp_path / 'kato-consul/consul'} does not exist",
        "  - the distribution's archive: this system is 'plan9', not debian or ubuntu",
        "Install Consul so that it is on the PATH, or set CONSUL_BIN to a Consul program.",
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/cache/kato-consul/consul"),
        ({"HOME": "/home/me"}, "/home/me/.cache/kato-consul/consul"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/kato-consul/consul"),
        ({"XDG_CACHE_HOME": "here", "HOME": "/home/me"}, "/home/me/.cache/kato-consul/consul"),
    ],
)
def test_cache_file(environ: dict[str, str], expected: str) -> None:
    """The cache is where the XDG specification says; a relative folder is ignored."""
    assert cache_file(CONSUL, environ) == Path(expected)


def test_why_unusable(tmp_path: Path) -> None:
    """A folder, a file that is not executable and a broken program give a reason each."""
    plain = tmp_path / "plain"
    plain.write_text("text")
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    assert why_unusable(CONSUL, tmp_path) == "is not an executable file"
    assert why_unusable(CONSUL, plain) == "is not an executable file"
    assert why_unusable(CONSUL, broken) == "could not be run (Exec format error)"


def test_sources_are_read_in_both_formats(debian: Path) -> None:
    """`*.sources` and `*.list` are read; files with other suffixes are not."""
    folder = debian / "apt/sources.list.d"
    (debian / "apt/sources.list").unlink()
    disabled = "deb http://disabled.example/debian bookworm main"
    (folder / "a.list.disabled").write_text(disabled)
    with pytest.raises(ArchiveFailed, match="none of the 0 readable entries in"):
        find_source(debian, CONSUL.packages.releases)
    (folder / "tools.list").write_text("deb http://tools.example/debian tools main\n")
    (folder / "debian.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    _, entry = find_source(debian, CONSUL.packages.releases)
    assert entry.uri == "http://mirror.example/debian"


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        ("apt-get", "echo E: no route; exit 100", "apt-get update failed: E: no route"),
        ("apt-get", "exit 0", "apt-get downloaded no package consul"),
        ("apt-get", "exec sleep 60", "apt-get update took longer than 0.5 s"),
        ("dpkg", "echo corrupt >&2; exit 2", "dpkg failed: corrupt"),
        ("dpkg", "exit 0", "the package has no /usr/bin/consul"),
    ],
)
def test_a_failed_step_is_named(
    program: str,
    text: str,
    expected: str,
    tmp_path: Path,
    debian: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that fails is named with its output, and leaves nothing in the cache."""
    script(tmp_path / "bin" / program, text)
    if "sleep" in text:
        monkeypatch.setattr(apt_archive, "STEP_TIMEOUT", 0.5)
    with pytest.raises(ArchiveFailed, match=expected):
        fetch(CONSUL.packages, tmp_path / "cache/consul", etc=debian)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["consul.lock"]


def test_an_unwritable_cache_is_an_error(tmp_path: Path, debian: Path) -> None:
    """If the cache folder cannot be created, the error names it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArchiveFailed, match=r"could not write to .*file/cache"):
        fetch(CONSUL.packages, tmp_path / "file/cache/consul", etc=debian)


def test_two_processes_fetch_once(tmp_path: Path, debian: Path) -> None:
    """Two processes that need Consul at the same time fetch it only once, and both get it."""
    script(tmp_path / "bin/apt-get", f"sleep 0.3; {APT_GET}")
    target = tmp_path / "cache/consul"
    code = (
        "import platform, sys; from pathlib import Path; "
        f"platform.freedesktop_os_release = lambda: {BOOKWORM!r}; "
        "from kato_consul.testing.apt_archive import fetch; "
        "from kato_consul.testing.consul.binary import CONSUL; "
        "print(fetch(CONSUL.packages, Path(sys.argv[1]), etc=Path(sys.argv[2])))"
    )
    argv = [sys.executable, "-c", code, str(target), str(debian)]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as two,
    ):
        outputs = [one.communicate(timeout=30)[0], two.communicate(timeout=30)[0]]
    assert outputs == [f"{target}\n"] * 2
    assert why_unusable(CONSUL, target) is None
    assert (tmp_path / "apt-get.log").read_text().split() == ["update", "download"]
