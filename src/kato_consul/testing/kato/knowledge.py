"""Knowledge: learned sequences with their frequencies and emotives, by knowledge base.

The name of a knowledge base contains the node and the instance's SERVICE_NAME. So two instances
with different names share no knowledge, even if they share the file.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from kato_consul.testing.kato.memory import Event, average, pattern_name, symbols
from kato_consul.testing.kato.store import Store

LONGEST_KB = 60  # characters; KATO uses the name for databases
UNSAFE = str.maketrans(dict.fromkeys('/\\."$*<>:|?- ', "_"))


def kb_name(node_id: str, service_name: str) -> str:
    """Return the name of a node's knowledge base on an instance with that SERVICE_NAME."""
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
        """Learn `events` and return the pattern's name; a single symbol is not learned: return "".

        If the pattern exists, its frequency is increased, the newest `persistence` emotives are
        kept, and the metadata is merged.
        """
        if len(symbols(events)) < 2:
            return ""
        name = pattern_name(events)
        with self._store.transaction():
            self._bump_revision(kb)
            known = self.get(kb, name)
            newest = [*(known.emotives if known else []), *map(dict, emotives)][-persistence:]
            metadata = merge_metadata([known.metadata] if known else [], notes)
            self._db.execute(
                "INSERT INTO patterns VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (kb, name) DO UPDATE "
                "SET frequency = frequency + 1, emotives = excluded.emotives, "
                "metadata = excluded.metadata",
                (kb, name, json.dumps(events), json.dumps(newest), json.dumps(metadata)),
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
        """Return a pattern by its name without "PTRN|"."""
        row = self._db.execute(
            "SELECT name, events, frequency, emotives, metadata FROM patterns "
            "WHERE kb = ? AND name = ?",
            (kb, name),
        ).fetchone()
        return None if row is None else _pattern(row)

    def patterns(self, kb: str) -> list[Pattern]:
        """Return all patterns of `kb`, in the order in which they were first learned."""
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
        """Return each symbol's frequency and the number of patterns that contain it."""
        rows = self._db.execute(
            "SELECT symbol, frequency, members FROM symbols WHERE kb = ? ORDER BY rowid", (kb,)
        )
        return {symbol: (frequency, members) for symbol, frequency, members in rows}

    def affinities(self, kb: str) -> dict[str, dict[str, float]]:
        """Return for each symbol the sums of the emotives it was learned with."""
        totals: dict[str, dict[str, float]] = {}
        for symbol, emotive, total in self._db.execute(
            "SELECT symbol, emotive, total FROM affinities WHERE kb = ? ORDER BY rowid", (kb,)
        ):
            totals.setdefault(symbol, {})[emotive] = total
        return totals

    def clear(self, kb: str) -> None:
        """Delete everything learned in `kb`."""
        with self._store.transaction():
            self._bump_revision(kb)
            self._db.execute("DELETE FROM patterns WHERE kb = ?", (kb,))
            self._db.execute("DELETE FROM symbols WHERE kb = ?", (kb,))
            self._db.execute("DELETE FROM affinities WHERE kb = ?", (kb,))

    def _bump_revision(self, kb: str) -> None:
        # Each process parses the patterns of a knowledge base again only after a change.
        self._db.execute(
            "INSERT INTO revisions VALUES (?, 1) "
            "ON CONFLICT (kb) DO UPDATE SET revision = revision + 1",
            (kb,),
        )


def merge_metadata(
    known: Sequence[Mapping[str, Sequence[str]]], notes: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return per key the sorted, distinct values as strings."""
    values: dict[str, set[str]] = {}
    for metadata in known:
        for key, known_values in metadata.items():
            values.setdefault(key, set()).update(known_values)
    for note in notes:
        for key, value in note.items():
            values.setdefault(key, set()).add(str(value))
    return {key: sorted(distinct) for key, distinct in values.items()}


def _pattern(row: tuple[str, str, int, str, str]) -> Pattern:
    name, events, frequency, emotives, metadata = row
    return Pattern(name, json.loads(events), frequency, json.loads(emotives), json.loads(metadata))
