"""Facts about the session directory: whether a process can list, own and release sessions there."""

import time

import msgspec

from kato_consul._directory.directory import Directory, LeaseLost
from kato_consul._directory.entry import Entry
from kato_consul._doctor.facts import DirectoryFacts
from kato_consul._flow import Flow
from kato_consul._runtime_defaults import clock
from kato_consul.errors import SessionDirectoryUnavailable, SessionOwnedElsewhere

DIRECTORY_WITHIN = 10.0
"""Seconds for all requests to the directory. The first acquisition on a Redis that was not used
before takes two."""

PROBE_KEY = "kato-consul-doctor"
"""The key of the session that is acquired here, and ends at once. It has no session of KATO's."""


def from_directory(directory: Directory) -> Flow[DirectoryFacts]:
    """Flow: collect the facts. Their background work has to run meanwhile."""
    deadline = clock() + DIRECTORY_WITHIN
    policy = ""
    try:
        stored = yield from directory.entries(deadline)
        policy = yield from directory.eviction_policy(deadline)
        held, _ = yield from directory.acquire(PROBE_KEY, deadline)
        yield from directory.release(held, _expired(held.entry), deadline)
    except SessionDirectoryUnavailable as error:
        return DirectoryFacts(directory.name, error=str(error), denied=error.denied, evicts=policy)
    except (LeaseLost, SessionOwnedElsewhere):
        pass  # another doctor acquires the same at this moment: so it works
    return DirectoryFacts(
        directory.name,
        evicts=policy,
        sessions=len(stored),
        left=sum(not one.owned and not one.entry.released for one in stored),
    )


def _expired(entry: Entry) -> Entry:
    """Return an entry that the directory does not keep."""
    return msgspec.structs.replace(
        entry, revision=entry.revision + 1, released=True, expires_at=time.time()
    )
