"""Which of a machine's apt entries is its distribution's own archive. Pure: text in, values out.

We never name an archive ourselves. A machine may be set to a mirror near it, or be allowed to
reach nothing else, so we take the address it already uses and ask it for another release.
Both spellings of sources.list(5) are read: one line an entry, and deb822 stanzas.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

NO = frozenset({"no", "false", "without", "off", "disable", "0"})  # as apt reads a boolean
YES = frozenset({"yes", "true", "with", "on", "enable", "1"})


@dataclass(frozen=True)
class AptEntry:
    """One archive address with its suites, components and keys, as the machine has it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""  # keyrings, fingerprints or a whole key, in deb822's spelling
    trusted: bool = False  # the machine's owner takes it unsigned


@dataclass(frozen=True)
class Distribution:
    """A distribution, and the release of it that carries Consul."""

    id: str  # os-release(5) ID
    suite: str
    component: str
    keyring: Path  # where the distribution puts its archive's keys
    releases: frozenset[str]  # suites an entry may name; the machine's own codename is added


DISTRIBUTIONS = (
    # Tried on bookworm: Consul 1.8.7, the last one Debian packaged, runs there.
    Distribution(
        "debian",
        suite="bullseye",
        component="main",
        keyring=Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
        releases=frozenset({"bullseye", "bookworm", "trixie", "oldstable", "stable", "testing"}),
    ),
    # Not tried on a machine: jammy is the newest release we know to carry Consul (1.8.7).
    Distribution(
        "ubuntu",
        suite="jammy",
        component="universe",
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
    """Parse a `*.sources` file: stanzas of `Field: value`, parted by empty lines."""
    entries: list[AptEntry] = []
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            found[1].lower(): found[2].strip()
            for found in re.finditer(r"^([\w-]+):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in NO:
            continue
        entries.extend(
            AptEntry(
                uri,
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                trusted=fields.get("trusted", "").lower() in YES,
            )
            for uri in fields.get("uris", "").split()
        )
    return entries


def parse_os_release(text: str) -> dict[str, str]:
    """Parse os-release(5): `NAME=value` with optional quotes."""
    pairs = (line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z_]+=", line))
    return {name: value.strip().strip("\"'") for name, value in pairs}


def choose_entry(
    entries: Iterable[AptEntry], distribution: Distribution, codename: str
) -> AptEntry | None:
    """Return the entry of the distribution's own main archive, or None.

    A third party may use the release's name and `main` as well, so the likeliest is taken: its
    path names the distribution, and it is signed with the distribution's keys or has none named.
    """
    releases = distribution.releases | {codename}

    def likeness(entry: AptEntry) -> int:
        folder = urlsplit(entry.uri).path.rstrip("/").rpartition("/")[2]
        own_key = not entry.signed_by or f"{distribution.id}-archive" in entry.signed_by
        return 2 * folder.startswith(distribution.id) + own_key

    # The -security and -updates suites are no releases' names, so they fall out here.
    fit = [e for e in entries if releases & set(e.suites) and "main" in e.components]
    return max(fit, key=likeness, default=None)


def private_source(
    entry: AptEntry, distribution: Distribution, default_keyring: Path | None
) -> str:
    """Return a deb822 stanza for Consul's release at the address of `entry`, with its keys."""
    signed_by = entry.signed_by or str(default_keyring or "")
    return "\n".join(
        (
            "Types: deb",
            f"URIs: {entry.uri}",
            f"Suites: {distribution.suite}",
            f"Components: {distribution.component}",
            *([f"Signed-By: {signed_by}"] if signed_by else []),
            *(["Trusted: yes"] if entry.trusted else []),
            "",
        )
    )
