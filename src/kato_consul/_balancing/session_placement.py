"""Session placement: gives each session a primary instance.

A session is on another instance only while its primary is not available.

| when                              | a session                                          |
| --------------------------------- | -------------------------------------------------- |
| is opened                         | gets a primary: its first choice that is not full  |
| an instance joins                 | stays where it is                                  |
| its primary drains, or leaves     | gets another primary                               |
| its primary fails, or is critical | moves to its next choice and stays there meanwhile |
| its primary is available again    | returns at the start of its next operation         |

Choices are ranked by rendezvous hashing, instances in the client's zone first. An instance is full
when it has more than `BALANCE_FACTOR` times its share of this client's sessions ("Consistent
hashing with bounded loads", Mirrokni, Thorup & Zadimoghaddam 2016). The bound applies when a
session is placed, never later.
"""

import math
import threading
from collections import Counter
from collections.abc import Sequence

from kato_consul._balancing.rendezvous import rank
from kato_consul.models import Instance

BALANCE_FACTOR = 1.25
"""How many times its share an instance may have: the default of Vimeo and HAProxy."""


class SessionPlacement:
    """The number of sessions by their primary's uid. Threads may share it."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()  # a lost update would never be corrected

    def __getitem__(self, uid: str) -> int:
        """Return the number of sessions whose primary the instance is."""
        return self._counts[uid]

    def place(self, key: str, previous: str, among: Sequence[Instance], zone: str) -> Instance:
        """Return the primary for a session, and count it: the first choice that is not full.

        Args:
            key: The session id.
            previous: Uid of its primary so far, or "".
            among: The instances to choose from, at least one.
            zone: The client's zone, or "".
        """
        choices = ranked(key, among, zone)
        with self._lock:
            if previous:
                self._remove(previous)
            all_sessions = sum(self._counts[instance.uid] for instance in choices) + 1
            all_weights = sum(instance.weight for instance in choices)
            primary = choices[0]
            for instance in choices:
                if self._counts[instance.uid] + 1 <= _capacity(instance, all_sessions, all_weights):
                    primary = instance
                    break
            self._counts[primary.uid] += 1
        return primary

    def release(self, uid: str) -> None:
        """Remove a session that ended from the count of its primary."""
        with self._lock:
            self._remove(uid)

    def _remove(self, uid: str) -> None:
        self._counts[uid] -= 1
        if self._counts[uid] <= 0:
            del self._counts[uid]


def ranked(key: str, among: Sequence[Instance], zone: str = "") -> list[Instance]:
    """Return the choices of a session, most preferred first; those in ``zone`` before others."""
    choices = rank(key, among)
    if zone:
        choices.sort(key=lambda instance: instance.zone != zone)  # stable: keeps the ranking
    return choices


def _capacity(instance: Instance, all_sessions: int, all_weights: int) -> int:
    share = instance.weight / all_weights if all_weights else 1.0
    return math.ceil(BALANCE_FACTOR * all_sessions * share)
