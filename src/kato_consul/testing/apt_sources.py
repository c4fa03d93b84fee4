"""Apt sources: finds the entry of a distribution's own archive. Pure functions of text.

No archive address is built in. A machine may be configured for a mirror near it, or may reach no
other host, so the address that it already uses is queried for another release. Both formats of
sources.list(5) are read: one-line entries and deb822 stanzas.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import urlsplit

NO = frozenset({"no", "false", "without", "off", "disable", "0"})  # as apt reads a boolean
YES = frozenset({"yes", "true", "with", "on", "enable", "1"})


@dataclass(frozen=True)
class AptEntry:
    """One archive address with its suites, components and keys, as configured on the machine."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""  # keyrings, fingerprints or an inline key, in the deb822 format
    trusted: bool = False  # accepted unsigned


@dataclass(frozen=True)
class Distribution:
    """A distribution, and how its archive is recognized."""

    id: str  # os-release(5) ID
    keyring: Path  # the distribution's file with its archive's keys
    releases: frozenset[str]  # suites of an entry; the machine's own codename is added


@dataclass(frozen=True)
class Release:
    """The part of a distribution's archive that contains a program."""

    suite: str
    component: str = "main"


DISTRIBUTIONS = (
    Distribution(
        "debian",
        keyring=Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
        releases=frozenset({"bullseye", "bookworm", "trixie", "oldstable", "stable", "testing"}),
    ),
    Distribution(
        "ubuntu",
        keyring=Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
        releases=frozenset({"jammy", "noble"}),
    ),
)


def parse_one_line(text: str) -> list[AptEntry]:
    """Parse a `*.list` file: `deb [option=value …] uri suite component …`."""
    entries: list[AptEntry] = []
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]*)", line)
        words = found["rest"].split() if found else []
        if found is None or len(words) < 3 or words[0].startswith("cdrom:"):
            continue
        uri, suite, *components = words
        options = dict(
            option.split("=", 1) for option in (found["options"] or "").split() if "=" in option
        )
        entries.append(
            AptEntry(
                uri,
                (suite,),
                tuple(components),
                signed_by=options.get("signed-by", "").replace(",", " "),
                trusted=options.get("trusted", "").lower() in YES,
            )
        )
    return entries


def parse_deb822(text: str) -> list[AptEntry]:
    """Parse a `*.sources` file: stanzas of `Field: value`, separated by empty lines."""
    entries: list[AptEntry] = []
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = HeaderParser().parsestr(stanza.strip())  # the syntax of a stanza is RFC 822's
        if "deb" not in fields.get("Types", "").split():
            continue
        if fields.get("Enabled", "yes").lower() in NO:
            continue
        entries.extend(
            AptEntry(
                uri,
                tuple(fields.get("Suites", "").split()),
                tuple(fields.get("Components", "").split()),
                signed_by=fields.get("Signed-By", "").strip(),
                trusted=fields.get("Trusted", "").lower() in YES,
            )
            for uri in fields.get("URIs", "").split()
        )
    return entries


def choose_entry(
    entries: Iterable[AptEntry], distribution: Distribution, codename: str
) -> AptEntry | None:
    """Return the entry of the distribution's own main archive, or None.

    A third party may use the release's name and `main` too, so the likeliest entry is chosen: its
    path names the distribution, and it is signed with the distribution's keys or names no keys.
    """
    releases = distribution.releases | {codename}

    def score(entry: AptEntry) -> int:
        folder = urlsplit(entry.uri).path.rstrip("/").rpartition("/")[2]
        own_key = not entry.signed_by or f"{distribution.id}-archive" in entry.signed_by
        return 2 * folder.startswith(distribution.id) + own_key

    # The -security and -updates suites are not names of releases, so they are excluded here.
    candidates = [e for e in entries if releases & set(e.suites) and "main" in e.components]
    return max(candidates, key=score, default=None)


def private_source(entry: AptEntry, release: Release, default_keyring: Path | None) -> str:
    """Return a deb822 stanza for `release` at the address of `entry`, with its keys."""
    signed_by = entry.signed_by or str(default_keyring or "")
    return "\n".join(
        (
            "Types: deb",
            f"URIs: {entry.uri}",
            f"Suites: {release.suite}",
            f"Components: {release.component}",
            *([f"Signed-By: {signed_by}"] if signed_by else []),
            *(["Trusted: yes"] if entry.trusted else []),
            "",
        )
    )
