"""Store: sessions and knowledge in one SQLite file, shared by all instances with its path.

As in the real store, a session has two expiry times: `key_expires` of its key, and `expires_at`
inside the document. Nothing protects a session against two concurrent writers: that is the fault
of the real KATO which the stand-in reproduces.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from kato_consul.testing.kato.memory import StoredSession

BUSY = 10.0  # seconds to wait for another process; each locks the file for well under 10 ms

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, document TEXT NOT NULL, key_expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS patterns (
    kb TEXT, name TEXT, events TEXT NOT NULL, frequency INTEGER NOT NULL,
    emotives TEXT NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (kb, name)
);
CREATE TABLE IF NOT EXISTS symbols (
    kb TEXT, symbol TEXT, frequency INTEGER NOT NULL, members INTEGER NOT NULL,
    PRIMARY KEY (kb, symbol)
);
CREATE TABLE IF NOT EXISTS revisions (kb TEXT PRIMARY KEY, revision INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS affinities (
    kb TEXT, symbol TEXT, emotive TEXT, total REAL NOT NULL, PRIMARY KEY (kb, symbol, emotive)
);
"""


class Store:
    """One connection to the file, for use only in the thread and process that created it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        self._prepare()

    def _prepare(self) -> None:
        # Off: a killed process loses nothing; a power cut may, but this is only test data.
        self.connection.execute("PRAGMA synchronous = OFF")
        deadline = time.monotonic() + BUSY
        while True:  # several processes may create the file at once; the switch to WAL cannot wait
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
                self.connection.executescript(SCHEMA)
                self.connection.execute(
                    "DELETE FROM sessions WHERE key_expires <= ?", (time.time(),)
                )
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction, without other writers."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def read(self, session_id: str) -> StoredSession | None:
        """Return the session whose key exists, even if `expires_at` inside it has passed."""
        row = self.connection.execute(
            "SELECT document FROM sessions WHERE id = ? AND key_expires > ?",
            (session_id, time.time()),
        ).fetchone()
        return None if row is None else StoredSession(**json.loads(row[0]))

    def write(self, session: StoredSession, key_expires: float) -> None:
        """Write the whole session, overwriting what is stored."""
        self.connection.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
            (session.session_id, json.dumps(asdict(session)), key_expires),
        )

    def touch(self, session_id: str, key_expires: float) -> None:
        """Set the key's expiry; the document is unchanged."""
        self.connection.execute(
            "UPDATE sessions SET key_expires = ? WHERE id = ?", (key_expires, session_id)
        )

    def delete(self, session_id: str) -> bool:
        """Delete the session; return False if there was none."""
        deleted = self.connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        return deleted.rowcount > 0

    def exists(self, session_id: str) -> bool:
        """Return whether the key exists and has not expired."""
        row = self.connection.execute(
            "SELECT 1 FROM sessions WHERE id = ? AND key_expires > ?", (session_id, time.time())
        ).fetchone()
        return row is not None

    def count(self) -> int:
        """Return the number of sessions that were not deleted: KATO counts expired ones too."""
        row = self.connection.execute("SELECT COUNT(*) FROM sessions").fetchone()
        return int(row[0])

    def flush(self) -> None:
        """Delete all sessions and all that was learned."""
        with self.transaction():
            for table in ("sessions", "patterns", "symbols", "affinities"):
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608  # names of ours
            self.connection.execute("UPDATE revisions SET revision = revision + 1")  # for caches

    def flush_sessions(self) -> None:
        """Delete all sessions. Learned patterns are kept."""
        self.connection.execute("DELETE FROM sessions")
