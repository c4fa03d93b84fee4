"""Ledger of the demo: what KATO acknowledged, and so must still have at the end."""

from collections import Counter
from dataclasses import dataclass, field

from kato_consul import AsyncSession

Events = tuple[str, ...]
"""The events of a sequence; each event is one symbol."""


@dataclass
class Ledger:
    """What KATO acknowledged to one session.

    ``node`` is the session's node, which other sessions may share.
    ``learned`` counts how often each sequence was learned, ``doubtful`` how often the outcome of
    learning it was unknown: it was learned once more, or not.
    ``pattern_names`` are KATO's names of the sequences; one is missing if no response had it.
    ``unlearned`` are the events observed since the last learn.
    """

    session: AsyncSession
    node: str
    learned: Counter[Events] = field(default_factory=Counter)
    doubtful: Counter[Events] = field(default_factory=Counter)
    pattern_names: dict[Events, str] = field(default_factory=dict)
    unlearned: list[str] = field(default_factory=list)

    def learned_events(self) -> Counter[str]:
        """Count how often each event was learned."""
        return _count_events(self.learned)

    def doubtful_events(self) -> Counter[str]:
        """Count how often each event was in a sequence that may have been learned."""
        return _count_events(self.doubtful)


def _count_events(sequences: Counter[Events]) -> Counter[str]:
    return Counter(event for sequence in sequences.elements() for event in sequence)
