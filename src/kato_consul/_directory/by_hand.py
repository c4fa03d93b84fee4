"""Session directory by hand: what an operator sees of an entry, and releases without using it."""

from kato_consul._directory.directory import Directory, LeaseLost, Stored
from kato_consul._flow import Flow
from kato_consul.models import SessionEntry


def release_by_hand(directory: Directory, key: str, deadline: float) -> Flow[Stored | None]:
    """Flow: let the owner of a session give it up, and return its entry; None if there is none.

    The owner is asked as by any process that waits, and the session is not used. So it is never
    taken from a process that lives. One without an owner stays as it is.

    Raises:
        SessionDirectoryUnavailable: the directory did not answer before the deadline.
        SessionOwnedElsewhere: its owner did not release it before the deadline.
    """
    found = yield from directory.entry(key, deadline)
    if found is None or not found.owned:
        return found
    held, previous = yield from directory.acquire(key, deadline)
    try:
        yield from directory.release(held, held.given_back(previous), deadline)
    except LeaseLost:  # another process has it by now: the owner has given it up in any case
        return (yield from directory.entry(key, deadline))
    return Stored(held.entry, owned=False)


def session_entry(stored: Stored) -> SessionEntry:
    """Return what users see of an entry."""
    entry = stored.entry
    return SessionEntry(
        key=entry.key,
        id=entry.id or None,
        owner=entry.owner_label if stored.owned else None,
        last_owner=entry.owner_label,
        released=entry.released,
        epoch=entry.epoch,
        node_id=entry.node_id,
        aliases=entry.aliases,
        time=entry.time,
        events=entry.events,
        ttl=entry.ttl,
        written_at=entry.written_at or None,
        expires_at=entry.expires_at or None,
    )
