"""Blocking slots: how many waiters of a client have a blocking query at a time.

An agent accepts a limited number of connections from one address (``http_max_conns_per_client``,
200 by default), and each blocking query occupies one. A waiter without a slot reads at intervals:
it sees its turn a little later.
"""

from kato_consul._observable import Observable

MAX_BLOCKING = 32
"""Blocking queries of one client's waiters. Five processes of a machine are within an agent's
default limit."""

READ_INTERVAL = 0.25
"""Seconds between two reads of a waiter without a slot."""

MAX_READS = 100.0
"""Reads per second of all waiters without a slot. With more of them the interval grows."""


class BlockingSlots:
    """The waiters of one client, and those whose query blocks now.

    Threads share it without a lock: adding to a set is atomic, and one query too many is harmless.
    """

    def __init__(self) -> None:
        self.freed: Observable[object] = Observable(object())
        self._blocking: set[object] = set()
        self._others: set[object] = set()

    def take(self, waiter: object) -> bool:
        """Return whether the next query of a waiter may block. It counts until `give_back`."""
        if len(self._blocking) >= MAX_BLOCKING:
            self._others.add(waiter)
            return False
        self._others.discard(waiter)
        self._blocking.add(waiter)
        return True

    def give_back(self, waiter: object) -> None:
        """Record that a waiter's query has ended, or will not be sent."""
        self._others.discard(waiter)
        if waiter in self._blocking:
            self._blocking.discard(waiter)
            self.freed.set(object())

    @property
    def read_interval(self) -> float:
        """Seconds between two reads of a waiter without a slot."""
        return max(READ_INTERVAL, len(self._others) / MAX_READS)
