"""What the demo's sessions were acknowledged: the promise that the verdict holds KATO to."""

from collections import Counter
from dataclasses import dataclass, field

from kato_consul._async.session import AsyncSession

Story = tuple[str, ...]


@dataclass
class Ledger:
    """What one session was acknowledged: stories learned, how often, and the events still open.

    ``names`` are KATO's for the stories; one is missing when no answer ever carried it.
    """

    session: AsyncSession
    learned: Counter[Story] = field(default_factory=Counter)
    names: dict[Story, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
