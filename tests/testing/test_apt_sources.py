"""Apt sources: finding a distribution's own archive among a machine's entries."""

from pathlib import Path
from textwrap import dedent

import pytest

from kato_consul.testing.apt_sources import (
    DISTRIBUTIONS,
    AptEntry,
    Release,
    choose_entry,
    parse_deb822,
    parse_one_line,
    private_source,
)

DEBIAN, UBUNTU = DISTRIBUTIONS
BULLSEYE = Release("bullseye")
OWN = "http://mirror.example/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"deb {OWN} bookworm main", [AptEntry(OWN, ("bookworm",), ("main",))]),
        (
            f"  deb  {OWN}  bookworm  main contrib  # near us",
            [AptEntry(OWN, ("bookworm",), ("main", "contrib"))],
        ),
        (
            f"deb [arch=amd64 signed-by=/a.gpg,/b.gpg] {OWN} bookworm main",
            [AptEntry(OWN, ("bookworm",), ("main",), signed_by="/a.gpg /b.gpg")],
        ),
        (
            f"deb [ trusted=yes ] {OWN} bookworm main",
            [AptEntry(OWN, ("bookworm",), ("main",), trusted=True)],
        ),
        (
            f"deb [trusted=no]{OWN} bookworm main",
            [AptEntry(OWN, ("bookworm",), ("main",))],
        ),
        (f"deb {OWN} ./", []),  # a folder of packages has no components
        (f"# deb {OWN} bookworm main", []),
        (f"deb-src {OWN} bookworm main", []),
        ("deb cdrom:[Debian 12 _Bookworm_]/ bookworm main", []),
        ("", []),
        ("debris", []),
    ],
)
def test_parse_one_line(line: str, expected: list[AptEntry]) -> None:
    """A `*.list` line is an entry, unless it is a comment, for sources, a disc or no archive."""
    assert parse_one_line(line) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"""\
            Types: deb
            # a comment
            URIs: {OWN}
            Suites: bookworm bookworm-updates
            Components: main
            Signed-By: {KEYRING}
            """,
            [AptEntry(OWN, ("bookworm", "bookworm-updates"), ("main",), signed_by=KEYRING)],
        ),
        (
            f"""\
            # Two stanzas, two addresses in the second, names in any case.
            types: deb deb-src
            uris: {OWN}
            suites: bookworm
            components: main

            Types: deb
            URIs: http://a.example/x
             http://b.example/x
            Suites: bookworm
            Components: main
            Trusted: yes
            """,
            [
                AptEntry(OWN, ("bookworm",), ("main",)),
                AptEntry("http://a.example/x", ("bookworm",), ("main",), trusted=True),
                AptEntry("http://b.example/x", ("bookworm",), ("main",), trusted=True),
            ],
        ),
        (
            f"""\
            Types: deb
            URIs: {OWN}
            Suites: bookworm
            Components: main
            Signed-By:
             -----BEGIN PGP PUBLIC KEY BLOCK-----
             .
             abc=
            """,
            [
                AptEntry(
                    OWN,
                    ("bookworm",),
                    ("main",),
                    signed_by="-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=",
                )
            ],
        ),
        (f"\n\nTypes: deb\nURIs: {OWN}\nSuites: x\nComponents: c", [AptEntry(OWN, ("x",), ("c",))]),
        (f"Enabled: no\nTypes: deb\nURIs: {OWN}\nSuites: bookworm\nComponents: main", []),
        (f"Types: deb-src\nURIs: {OWN}\nSuites: bookworm\nComponents: main", []),
        ("", []),
    ],
)
def test_parse_deb822(text: str, expected: list[AptEntry]) -> None:
    """A `*.sources` stanza has one entry per address, unless it is disabled or for sources."""
    assert parse_deb822(dedent(text)) == expected


def entry(uri: str, suite: str = "bookworm", component: str = "main", key: str = "") -> AptEntry:
    """Return an entry with one suite and one component."""
    return AptEntry(uri, (suite,), (component,), signed_by=key)


SECURITY = entry("http://mirror.example/debian-security", "bookworm-security")
UPDATES = entry(OWN, "bookworm-updates")
TOOLS = entry("http://tools.example", key="/usr/share/keyrings/tools.gpg")  # also bookworm main
CLOUD = entry("http://tools.example/apt", "cloud-sdk-bookworm")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(OWN)], entry(OWN)),
        ([SECURITY, UPDATES, CLOUD, entry(OWN)], entry(OWN)),
        ([TOOLS, entry(OWN, key=KEYRING)], entry(OWN, key=KEYRING)),
        ([entry(OWN, key=KEYRING), TOOLS], entry(OWN, key=KEYRING)),
        ([TOOLS, entry("http://mirror.example/apt")], entry("http://mirror.example/apt")),
        ([TOOLS, entry(OWN, key="/our/own.gpg")], entry(OWN, key="/our/own.gpg")),
        ([entry(OWN, "trixie")], entry(OWN, "trixie")),
        ([entry(OWN, "stable")], entry(OWN, "stable")),
        ([entry(OWN, "forky")], entry(OWN, "forky")),  # the machine's own codename
        ([entry(OWN, component="contrib")], None),
        ([SECURITY, UPDATES, CLOUD], None),
        ([], None),
    ],
)
def test_choose_entry(entries: list[AptEntry], expected: AptEntry | None) -> None:
    """The distribution's main archive is chosen, even if others use its release's name."""
    assert choose_entry(entries, DEBIAN, "forky") == expected


def test_choose_entry_on_ubuntu() -> None:
    """On Ubuntu, Ubuntu's archive is chosen, also that for other architectures."""
    ports = entry("http://mirror.example/ubuntu-ports", "noble")
    assert choose_entry([entry("http://tools.example", "noble"), ports], UBUNTU, "noble") == ports


@pytest.mark.parametrize(
    ("chosen", "keyring", "last_lines"),
    [
        (entry(OWN), None, []),
        (entry(OWN), Path(KEYRING), [f"Signed-By: {KEYRING}"]),
        (entry(OWN, key="/our/own.gpg"), Path(KEYRING), ["Signed-By: /our/own.gpg"]),
        (AptEntry(OWN, ("x",), ("main",), trusted=True), None, ["Trusted: yes"]),
    ],
)
def test_private_source(chosen: AptEntry, keyring: Path | None, last_lines: list[str]) -> None:
    """The source has the chosen address, Consul's release, and the entry's or default keys."""
    lines = ["Types: deb", f"URIs: {OWN}", "Suites: bullseye", "Components: main", *last_lines]
    assert private_source(chosen, BULLSEYE, keyring).splitlines() == lines


def test_private_source_with_an_inline_key() -> None:
    """An inline key of an entry is the same after writing and parsing."""
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc="
    (read,) = parse_deb822(private_source(entry(OWN, key=key), BULLSEYE, None))
    assert read == AptEntry(OWN, ("bullseye",), ("main",), signed_by=key)
