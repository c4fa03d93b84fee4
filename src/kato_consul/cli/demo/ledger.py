"""Ledger of the demo: what KATO acknowledged, and so must still have at the end."""

from collections import Counter
from dataclasses import dataclass, field

from kato_consul import AsyncSession

Events = tuple[str, ...]
"""The events of a sequence; each event is one symbol."""


@dataclass
class Ledger:
    """What KATO acknowledged to one session.

    ``learned`` counts how often each sequence was learned.
    ``pattern_names`` are KATO's names of the sequences; one is missing if no response had it.
    ``unlearned`` are the events observed since the last learn.
    """

    session: AsyncSession
    learned: Counter[Events] = field(default_factory=Counter)
    pattern_names: dict[Events, str] = field(default_factory=dict)
    unlearned: list[str] = field(default_factory=list)
