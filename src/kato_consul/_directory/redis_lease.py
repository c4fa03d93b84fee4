"""Lease in Redis: one key of this process, refreshed while it lives.

It ends `LEASE` after a refresh by the server's clock, and a margin earlier for this process, from
the moment before the refresh was sent. Assumption: the two clocks differ in rate by less than the
margin, and the server's is not set forward. A lease never outlives the server process that it began
on: a replica that was promoted, or a server that was restarted, may not have what was acquired.
"""

import itertools
import threading

from kato_consul._directory.lease import Lease
from kato_consul._directory.redis_calls import RedisCalls
from kato_consul._directory.redis_script import LEASE
from kato_consul._directory.redis_scripts import REFRESH, START
from kato_consul._flow import Clock, Flow
from kato_consul._logging import logger

log = logger("directory")

MARGIN = 0.2
"""Seconds that a lease ends earlier for this process than in Redis."""

REFRESH_EVERY = LEASE / 3

_WHY_LOST = "it was not refreshed in time, or Redis was restarted"


class OwnLease:
    """The leases of one process, one after the other. ``replicas``: the server has some.
    ``confirmed``: Redis has granted one; before, this process cannot have acquired anything.

    ``number`` names the current one in Redis. An earlier one is lost before its successor is
    requested: from then on Redis may grant to others what was acquired under it.
    """

    def __init__(self, calls: RedisCalls, nonce: str, now: Clock) -> None:
        self._calls, self._nonce, self._now = calls, nonce, now
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # two threads must not each replace the same lease
        self.lease, self.number = Lease(now), 0
        self.lease.lose()
        self.replicas = False
        self.confirmed = False

    def current(self, deadline: float) -> Flow[tuple[Lease, int]]:
        """Flow: return a lease that is valid, and its number; start one if needed.

        Raises:
            SessionDirectoryUnavailable: Redis did not answer before the deadline.
        """
        while True:
            with self._lock:
                lease, number = self.lease, self.number
            if lease.is_valid():
                return lease, number
            yield from self.refresh(deadline)

    def refresh(self, deadline: float) -> Flow[list[bytes] | None]:
        """Flow: refresh the lease, and return what others want; None if it was lost, and another
        one was started.

        Raises:
            SessionDirectoryUnavailable: Redis did not answer before the deadline.
        """
        with self._lock:
            lease, number = self.lease, self.number
        if not lease.lost:
            answer = yield from self._calls.run(REFRESH, self._nonce, number, deadline=deadline)
            if answer.status == "ok":
                self.extend(lease, answer.sent_at)
                self.replicas = answer.values[1] > 0
                return list(answer.values[2])
        with self._lock:
            if self.lease is not lease:
                return None  # another flow has replaced it
            was_confirmed = lease.end > 0
            lease.lose()
            self.lease, self.number = lease, number = Lease(self._now), next(self._numbers)
        if was_confirmed:
            log.warning("directory.lease_lost", directory=self._calls.name, why=_WHY_LOST)
        answer = yield from self._calls.run(START, self._nonce, number, deadline=deadline)
        if answer.status == "ok":
            self.extend(lease, answer.sent_at)
            self.replicas = answer.values[1] > 0
        return None

    def extend(self, lease: Lease, sent_at: float) -> None:
        """Record that Redis has refreshed a lease by a command that was sent then."""
        lease.extend(sent_at + LEASE - MARGIN)
        self.confirmed = True

    def end(self) -> None:
        """Lose the lease, and start none any more."""
        with self._lock:
            self.lease.lose()
