"""What ``sessions`` prints: a line for each session, or all of one."""

from collections.abc import Sequence

from kato_consul import SessionEntry
from kato_consul.cli.output import duration, printable

NO_SESSIONS = (
    "no sessions. No process with this directory and this service has opened one, or all have "
    "expired"
)


def summary(found: Sequence[SessionEntry]) -> str:
    """Return how many sessions there are, and how many of them are owned by how many processes."""
    if not found:
        return NO_SESSIONS
    owners = [entry.owner for entry in found if entry.owner is not None]
    released = sum(entry.released for entry in found)
    left = len(found) - len(owners) - released
    processes = _count(len(set(owners)), "process", "processes")
    parts = [session_count(len(found)), f"{len(owners)} owned by {processes}"]
    parts += [f"{count} {what}" for count, what in ((released, "released"), (left, "left"))]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def session_count(number: int) -> str:
    """Return ``1 session``, ``2 sessions``."""
    return _count(number, "session", "sessions")


def table(found: Sequence[SessionEntry]) -> list[str]:
    """Return a line for each session, in columns below their headings; none for no sessions.

    Not by rich, which would take seconds for 10,000 of them.
    """
    from rich.cells import cell_len

    rows = [("key", "id", "owner", "epoch", "age")] if found else []
    for entry in found:
        key, session_id = printable(entry.key), printable(entry.id or "none")
        rows.append((key, session_id, owner_of(entry), str(entry.epoch), _age(entry)))
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in cells).rstrip()

    return [line(row) for row in rows]


def details(entry: SessionEntry) -> str:
    """Return all of one session, a line for each part."""
    expires = (entry.expires_at or 0.0) - (entry.written_at or 0.0) - (entry.age or 0.0)
    counter = f"{entry.time}, with {_count(entry.events, 'event', 'events')} in memory"
    parts = {
        "key": printable(entry.key),
        "id": printable(entry.id or "none (it is not opened yet, or was deleted)"),
        "earlier ids": printable(", ".join(entry.aliases)),
        "node": printable(entry.node_id),
        "owner": owner_of(entry),
        "epoch": str(entry.epoch),
        "age": _age(entry),
        "counter": f"{counter}, when the entry was written" if entry.id else "",
        "expires": f"in {duration(expires)}, unless it is used" if expires > 0 else "",
    }
    return "\n".join(f"{name:<13}{value}" for name, value in parts.items() if value)


def owner_of(entry: SessionEntry) -> str:
    """Return the process that owns the session, or what became of the last one."""
    if entry.owner is not None:
        return printable(entry.owner)
    how = "released" if entry.released else "left"
    return f"none ({how} by {printable(entry.last_owner)})" if entry.last_owner else "none"


def _age(entry: SessionEntry) -> str:
    return "" if entry.age is None else duration(entry.age)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
