"""Pattern: the name that KATO gives to the events it learns, and how often it has learned them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kato_consul._kato.types import Event


@dataclass(frozen=True, slots=True)
class PatternCount:
    """The pattern that a learn makes: its name, and its frequency before, None if not known."""

    name: str
    frequency: int | None


def pattern_name(events: Sequence[Event]) -> str:
    """Return the name that KATO gives to a pattern of these events, without its prefix.

    KATO hashes the text of the nested lists (``kato/representations/pattern.py``).
    """
    text = repr([list(event) for event in events])
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
