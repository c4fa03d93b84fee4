"""The rules about the session directory: each finding follows from its facts alone."""

from collections.abc import Iterator

from kato_consul._doctor.facts import DirectoryFacts
from kato_consul._doctor.findings import Finding, Severity


def check_directory(facts: DirectoryFacts) -> Iterator[Finding]:
    """Yield the findings of the session directory."""
    if facts.denied:
        yield Finding(
            "directory.denied",
            Severity.ERROR,
            facts.name,
            f"no session can be shared: {facts.error}",
            "correct the token, or the user and password of the URL; or give it the rules that the "
            "documentation lists for session directories",
        )
    elif facts.error:
        yield Finding(
            "directory.unavailable",
            Severity.ERROR,
            facts.name,
            f"no session can be shared: {facts.error}",
            "check that it runs, and that KATO_CONSUL_SESSION_DIRECTORY names it",
        )
    if facts.evicts:
        yield Finding(
            "directory.evicts",
            Severity.ERROR,
            facts.name,
            f"when it is full, it removes sessions (maxmemory-policy {facts.evicts})",
            "set maxmemory-policy noeviction there: then it refuses instead, and calls say so",
        )
    if facts.left:
        one = facts.left == 1
        yield Finding(
            "directory.left",
            Severity.NOTE,
            facts.name,
            f"{facts.left} of {facts.sessions} sessions {'was' if one else 'were'} left by "
            f"processes that ended without handing {'it' if one else 'them'} over",
            "nothing: the next process that uses one takes it over. Close clients when a process "
            "ends, and its sessions are handed over",
        )
