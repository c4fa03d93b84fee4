"""What was learned, by knowledge base: sequences, how often, and with which feelings.

A knowledge base is named by a node and by the SERVICE_NAME of the instance that learned, so two
instances with different names share nothing here although they share the file.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from kato_consul.testing.kato.memory import Event, average, pattern_name, symbols
from kato_consul.testing.kato.store import Store

LONGEST_KB = 60  # characters; the real one names databases like this
UNSAFE = str.maketrans(dict.fromkeys('/\\."$*<>:|?- ', "_"))


def kb_name(node_id: str, service_name: str) -> str:
    """Return the name of the knowledge base of a node on an instance of that name."""
    node, service = node_id.translate(UNSAFE), service_name.replace("-", "_")
    if len(node) + 1 + len(service) > LONGEST_KB:
        digest = md5(node.encode(), usedforsecurity=False).hexdigest()[:8]
        node = f"{node[: LONGEST_KB - len(service) - len(digest) - 2]}_{digest}"
    return f"{node}_{service}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One learned sequence."""

    name: str
    events: list[Event]
    frequency: int
    emotives: list[dict[str, float]]
    metadata: dict[str, list[str]]


class Knowledge:
    """The learned sequences in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.connection
        self._cache: dict[str, tuple[int, list[Pattern]]] = {}

    def learn(
        self,
        kb: str,
        events: Sequence[Event],
        emotives: Sequence[Mapping[str, float]] = (),
        notes: Sequence[Mapping[str, Any]] = (),
        *,
        persistence: int,
    ) -> str:
        """Learn `events` and return the pattern's name; "" for a lone symbol, which is not learned.

        Again the same events: the frequency rises, the newest `persistence` emotives stay, the
        metadata is united.
        """
        if len(symbols(events)) < 2:
            return ""
        name = pattern_name(events)
        with self._store.transaction():
            self._revise(kb)
            known = self.get(kb, name)
            moments = [*(known.emotives if known else []), *map(dict, emotives)][-persistence:]
            metadata = united([known.metadata] if known else [], notes)
            self._db.execute(
                "INSERT INTO patterns VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (kb, name) DO UPDATE "
                "SET frequency = frequency + 1, emotives = excluded.emotives, "
                "metadata = excluded.metadata",
                (kb, name, json.dumps(events), json.dumps(moments), json.dumps(metadata)),
            )
            counts = Counter(symbols(events))
            self._db.executemany(
                "INSERT INTO symbols VALUES (?, ?, ?, ?) ON CONFLICT (kb, symbol) DO UPDATE SET "
                "frequency = frequency + excluded.frequency, members = members + excluded.members",
                [(kb, symbol, n, 0 if known else 1) for symbol, n in counts.items()],
            )
            self._db.executemany(
                "INSERT INTO affinities VALUES (?, ?, ?, ?) ON CONFLICT (kb, symbol, emotive) "
                "DO UPDATE SET total = total + excluded.total",
                [(kb, s, e, value) for e, value in average(emotives).items() for s in counts],
            )
        return name

    def get(self, kb: str, name: str) -> Pattern | None:
        """Return one pattern by its name without "PTRN|"."""
        row = self._db.execute(
            "SELECT name, events, frequency, emotives, metadata FROM patterns "
            "WHERE kb = ? AND name = ?",
            (kb, name),
        ).fetchone()
        return None if row is None else _pattern(row)

    def patterns(self, kb: str) -> list[Pattern]:
        """Return all patterns of `kb`, in the order of their learning."""
        row = self._db.execute("SELECT revision FROM revisions WHERE kb = ?", (kb,)).fetchone()
        revision = 0 if row is None else row[0]
        cached = self._cache.get(kb)
        if cached is None or cached[0] != revision:
            rows = self._db.execute(
                "SELECT name, events, frequency, emotives, metadata FROM patterns "
                "WHERE kb = ? ORDER BY rowid",
                (kb,),
            )
            cached = self._cache[kb] = (revision, [_pattern(row) for row in rows])
        return cached[1]

    def symbols(self, kb: str) -> dict[str, tuple[int, int]]:
        """Return for each symbol its frequency, and in how many patterns it is."""
        rows = self._db.execute(
            "SELECT symbol, frequency, members FROM symbols WHERE kb = ? ORDER BY rowid", (kb,)
        )
        return {symbol: (frequency, members) for symbol, frequency, members in rows}

    def affinities(self, kb: str) -> dict[str, dict[str, float]]:
        """Return for each symbol the sum of the emotives it was learned with."""
        found: dict[str, dict[str, float]] = {}
        for symbol, emotive, total in self._db.execute(
            "SELECT symbol, emotive, total FROM affinities WHERE kb = ? ORDER BY rowid", (kb,)
        ):
            found.setdefault(symbol, {})[emotive] = total
        return found

    def forget(self, kb: str) -> None:
        """Forget everything that was learned in `kb`."""
        with self._store.transaction():
            self._revise(kb)
            self._db.execute("DELETE FROM patterns WHERE kb = ?", (kb,))
            self._db.execute("DELETE FROM symbols WHERE kb = ?", (kb,))
            self._db.execute("DELETE FROM affinities WHERE kb = ?", (kb,))

    def _revise(self, kb: str) -> None:
        # Each process parses the patterns of a knowledge base anew only after a change.
        self._db.execute(
            "INSERT INTO revisions VALUES (?, 1) "
            "ON CONFLICT (kb) DO UPDATE SET revision = revision + 1",
            (kb,),
        )


def united(
    known: Sequence[Mapping[str, Sequence[str]]], notes: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return per key all values seen, as strings, sorted, each once."""
    values: dict[str, set[str]] = {}
    for metadata in known:
        for key, seen in metadata.items():
            values.setdefault(key, set()).update(seen)
    for note in notes:
        for key, value in note.items():
            values.setdefault(key, set()).add(str(value))
    return {key: sorted(seen) for key, seen in values.items()}


def _pattern(row: tuple[str, str, int, str, str]) -> Pattern:
    name, events, frequency, emotives, metadata = row
    return Pattern(name, json.loads(events), frequency, json.loads(emotives), json.loads(metadata))
