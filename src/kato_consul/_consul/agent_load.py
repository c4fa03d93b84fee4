"""Agent load: how many blocking queries this process keeps at an agent, and what the other watches
do.

An agent accepts a limited number of connections from one address (``http_max_conns_per_client``,
200 by default), and a blocking query occupies one, even for a while after the client has closed it.
So `MAX_BLOCKING` watches of a process block, and each further one reads the service at an interval.
The more of them block, the shorter: a process that ends leaves one connection occupied for a
minute, or four for a quarter of it. A new watch blocks at once only if it is the only one. An agent
that refuses a connection, because of this process or others on the machine, gets half as many
blocking queries; each minute without a refusal allows one more.
"""

import os
from weakref import WeakValueDictionary

from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable

MAX_BLOCKING = 4
"""Blocking queries of one process at one agent, or cluster of agents. With the reads of the other
watches these are six connections: 33 processes of a machine are within an agent's default limit."""

READ_INTERVAL = 3.0
"""Mean seconds between two reads of a service whose watch does not block: a change is seen within
seconds, and a read without a change costs the agent as much as a blocking query that ends."""

MAX_READS = 10.0
"""Reads per second of all watches that do not block. With more of them the interval grows."""

RECOVERY = 60.0
"""Seconds without a refusal after which one more blocking query is allowed: the usual length of the
queries that occupy the agent's connections."""


class AgentLoad:
    """The watches of one process at one agent, and those whose query blocks now.

    Threads share it without a lock: adding to a set is atomic, and one query too many is harmless.
    Times are seconds on the caller's clock.
    """

    __slots__ = ("__weakref__", "_allowed", "_blocking", "_changed_at", "_watches")

    def __init__(self) -> None:
        self._allowed = MAX_BLOCKING
        self._changed_at = 0.0
        self._watches: set[object] = set()
        self._blocking: set[object] = set()

    def add(self, watch: object) -> None:
        """Add a watch."""
        self._watches.add(watch)

    def remove(self, watch: object) -> None:
        """Remove a watch that has ended."""
        self._watches.discard(watch)
        self._blocking.discard(watch)

    def blocking_wait(self, longest: float) -> float:
        """Return how long a query may block: ``longest`` seconds for a single watch."""
        return longest / max(1, min(len(self._watches), MAX_BLOCKING))

    def begin_blocking(self, watch: object, now: float, *, is_new: bool) -> bool:
        """Return whether the next query of a watch may block. It counts until `end_blocking`."""
        if self._allowed < MAX_BLOCKING and now - self._changed_at >= RECOVERY:
            self._allowed += 1
            self._changed_at = now
        if len(self._blocking) >= self._allowed or (is_new and len(self._watches) > 1):
            return False
        self._blocking.add(watch)
        return True

    def end_blocking(self, watch: object) -> None:
        """Record that the blocking query of a watch has ended."""
        self._blocking.discard(watch)

    def record_error(self, error: ConsulError, now: float) -> None:
        """Record a failed query. A connection that the agent refused reduces the blocking ones."""
        if may_be_connection_limit(error):
            self._allowed = max(1, self._allowed // 2)
            self._changed_at = now

    @property
    def read_interval(self) -> float:
        """Mean seconds between two reads of a watch that does not block."""
        return max(READ_INTERVAL, (len(self._watches) - self._allowed) / MAX_READS)

    @property
    def pause_factor(self) -> float:
        """By how much pauses after errors are longer than those of a single watch: all watches
        together retry no more often than `MAX_BLOCKING` of them would."""
        return max(1.0, len(self._watches) / MAX_BLOCKING)


def may_be_connection_limit(error: ConsulError) -> bool:
    """Return whether the agent may have refused the connection because there are too many.

    It responds with 429 and closes the connection. If the request arrives after that, or over TLS,
    the client only sees that the connection was cut.
    """
    if isinstance(error, ConsulUnavailable):
        return error.status == 429
    return isinstance(error, ConsulUnreachable) and error.sent is True


_loads: "WeakValueDictionary[tuple[int, tuple[str, ...]], AgentLoad]" = WeakValueDictionary()
"""By process, since a forked child has connections of its own, and by the agents' addresses."""


def agent_load(addresses: tuple[str, ...]) -> AgentLoad:
    """Return the load that this process causes at these agents, shared by its watches."""
    key = (os.getpid(), addresses)
    load = _loads.get(key)
    return _loads.setdefault(key, AgentLoad()) if load is None else load
