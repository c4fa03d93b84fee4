"""Where sessions live: each has a home, and is somewhere else only while it cannot be there.

| when                           | a session                                          |
| ------------------------------ | -------------------------------------------------- |
| is opened                      | gets a home: its first choice that is not full     |
| and an instance joins          | stays where it is                                  |
| its home drains, or leaves     | gets another home                                  |
| its home fails, or is critical | goes to its next choice, and stays there meanwhile |
| its home is well again         | comes back at the beginning of its next operation  |

Choices are ranked by affinity, those of the client's own zone first. Full is who has more than
`BOUND` times its share of this client's sessions ("Consistent hashing with bounded loads",
Mirrokni, Thorup & Zadimoghaddam 2016); it counts when a session is placed, never later.
"""

import math
import threading
from collections import Counter
from collections.abc import Sequence

from kato_consul._balancing.rendezvous import rank
from kato_consul.models import Instance

BOUND = 1.25
"""How much more than its share an instance may have: Vimeo's and HAProxy's default."""


class SessionPlacement:
    """How many sessions live where, by uid. Threads may share it."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()  # threads count at once, and a count must not drift

    def __getitem__(self, uid: str) -> int:
        """Sessions that live there."""
        return self._counts[uid]

    def place(self, key: str, before: str, among: Sequence[Instance], zone: str) -> Instance:
        """A home for a session that lived at ``before`` (or ""): the first choice that has room."""
        choices = ranked(key, among, zone)
        with self._lock:
            if before:
                self._leave(before)
            all_sessions = sum(self._counts[one.uid] for one in choices) + 1
            all_weights = sum(one.weight for one in choices)
            chosen = choices[0]
            for one in choices:
                if self._counts[one.uid] + 1 <= _room(one, all_sessions, all_weights):
                    chosen = one
                    break
            self._counts[chosen.uid] += 1
        return chosen

    def release(self, uid: str) -> None:
        """A session that lived there is no more."""
        with self._lock:
            self._leave(uid)

    def _leave(self, uid: str) -> None:
        self._counts[uid] -= 1
        if self._counts[uid] <= 0:
            del self._counts[uid]


def ranked(key: str, among: Sequence[Instance], zone: str = "") -> list[Instance]:
    """The choices of a session, most preferred first."""
    choices = rank(key, among)
    if zone:
        choices.sort(key=lambda one: one.zone != zone)  # which keeps the order otherwise
    return choices


def _room(one: Instance, all_sessions: int, all_weights: int) -> int:
    share = one.weight / all_weights if all_weights else 1.0
    return math.ceil(BOUND * all_sessions * share)
