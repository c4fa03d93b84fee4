"""Sessions and knowledge in one SQLite file, shared by all instances that are given its path.

A session is a document with two lives, as in the real store: the key lives until `key_expires`,
and the document inside has an `expires_at` of its own. Nothing here guards a session against two
writers; that is the vice which the stand-in is for.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from kato_consul.testing.kato.memory import Session

BUSY = 10.0  # seconds to wait for another process; each holds the file for well under 10 ms

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
    """One connection to the file. It belongs to the thread and the process that made it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        self._prepare()

    def _prepare(self) -> None:
        # Off: a killed process loses nothing, a power cut may; nobody's data is in here.
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
        """All or nothing, with no other writer meanwhile."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def read(self, session_id: str) -> Session | None:
        """Return the session whose key is alive, expired inside or not."""
        row = self.connection.execute(
            "SELECT document FROM sessions WHERE id = ? AND key_expires > ?",
            (session_id, time.time()),
        ).fetchone()
        return None if row is None else Session(**json.loads(row[0]))

    def write(self, session: Session, key_expires: float) -> None:
        """Save the whole session over whatever is there."""
        self.connection.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
            (session.session_id, json.dumps(asdict(session)), key_expires),
        )

    def touch(self, session_id: str, key_expires: float) -> None:
        """Let the key live until `key_expires`; the document stays as it is."""
        self.connection.execute(
            "UPDATE sessions SET key_expires = ? WHERE id = ?", (key_expires, session_id)
        )

    def delete(self, session_id: str) -> bool:
        """Forget the session; False when there was none."""
        done = self.connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        return done.rowcount > 0

    def exists(self, session_id: str) -> bool:
        """Tell whether the key is alive."""
        row = self.connection.execute(
            "SELECT 1 FROM sessions WHERE id = ? AND key_expires > ?", (session_id, time.time())
        ).fetchone()
        return row is not None

    def count(self) -> int:
        """Return how many sessions there are."""
        row = self.connection.execute(
            "SELECT COUNT(*) FROM sessions WHERE key_expires > ?", (time.time(),)
        ).fetchone()
        return int(row[0])

    def flush_sessions(self) -> None:
        """Forget all sessions. What was learned stays."""
        self.connection.execute("DELETE FROM sessions")
