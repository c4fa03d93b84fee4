"""Background work of a directory in Redis: the lease, messages, and what was given up.

An idle owner costs the server two commands a second, however many sessions it owns.
"""

from kato_consul._backoff import full_jitter
from kato_consul._directory.redis_calls import REDIS_WAIT, RedisCalls
from kato_consul._directory.redis_lease import REFRESH_EVERY, OwnLease
from kato_consul._directory.redis_owned import Owned
from kato_consul._directory.redis_script import OWNED
from kato_consul._directory.redis_scripts import GIVE_UP, KEEP
from kato_consul._flow import LONG_WAIT, Flow, RedisReply, Sleep, WaitForChange
from kato_consul._logging import logger
from kato_consul._observable import Observable
from kato_consul._runtime_defaults import uniform
from kato_consul.errors import SessionDirectoryUnavailable

MAIL_WAIT = 5.0
"""Seconds that one read of the mailbox waits: then it is repeated, which costs one command."""

KEEP_EVERY = OWNED / 3
"""Seconds after which the entries of owned sessions are kept for longer: of each, one write in so
many seconds."""

KEEP_AT_ONCE = 200
"""Entries that are kept for longer with one command."""

log = logger("directory")


class RedisBackground:
    """The background flows. They do nothing until the first session is acquired."""

    def __init__(self, calls: RedisCalls, lease: OwnLease, owned: Owned, nonce: str) -> None:
        self._calls, self._lease, self._owned, self._nonce = calls, lease, owned, nonce
        self._running = Observable(False)
        self._ended = False
        self._failing = False
        self._keep_at = 0.0

    def flows(self) -> list[tuple[Flow[None], str]]:
        """Return the flows, each with its name."""
        return [
            (self._keep_lease(), "kato-consul directory lease"),
            (self._read_mail(), "kato-consul directory messages"),
        ]

    def begin(self) -> None:
        """Start to work."""
        if not self._running.current and not self._ended:
            self._keep_at = self._calls.clock() + KEEP_EVERY
            self._running.set(True)

    def end(self) -> None:
        """Do nothing any more, and above all start no lease."""
        self._ended = True
        self._running.set(False)

    def refresh(self, deadline: float) -> Flow[None]:
        """Flow: refresh the lease, and take what others want.

        Raises:
            SessionDirectoryUnavailable: Redis did not answer before the deadline.
        """
        wishes = yield from self._lease.refresh(deadline)
        for wish in wishes or ():
            self._owned.take(b"w" + wish)
        if wishes is None:
            self._owned.discard_lost()

    def _keep_lease(self) -> Flow[None]:
        """Flow: refresh the lease as long as this runs; in between, give up what was abandoned."""
        yield from self._until_begun()
        next_refresh = self._calls.clock() + REFRESH_EVERY  # the first call has started the lease
        while not self._ended:
            left = next_refresh - self._calls.clock()
            seen = self._owned.abandonment.current
            if left > 0 and not self._owned.abandoned:
                yield WaitForChange(self._owned.abandonment, seen, left)
                continue
            if left <= 0:
                next_refresh = self._calls.clock() + REFRESH_EVERY
            try:
                if left <= 0:
                    yield from self.refresh(next_refresh)
                    yield from self._keep_entries(next_refresh)
                yield from self._give_up(next_refresh)
                self._log_state(None)
            except SessionDirectoryUnavailable as error:
                self._log_state(error)
                yield Sleep(max(0.0, next_refresh - self._calls.clock()))

    def _give_up(self, deadline: float) -> Flow[None]:
        """Flow: give up what was abandoned. What fails is tried again with the next refresh."""
        for one in tuple(self._owned.abandoned.values()):
            yield from self._calls.run(GIVE_UP, one.key, one.id, deadline=deadline)
            del self._owned.abandoned[one.id]

    def _keep_entries(self, deadline: float) -> Flow[None]:
        if self._calls.clock() < self._keep_at:
            return
        held = self._owned.held()
        for start in range(0, len(held), KEEP_AT_ONCE):
            some = held[start : start + KEEP_AT_ONCE]
            pairs = [text for one in some for text in (one.key, one.id)]
            yield from self._calls.run(KEEP, *pairs, deadline=deadline)
        self._keep_at = self._calls.clock() + KEEP_EVERY

    def _read_mail(self) -> Flow[None]:
        """Flow: take messages as they come."""
        yield from self._until_begun()
        pauses = full_jitter(REDIS_WAIT, uniform)
        while not self._ended:
            outcome = yield from self._calls.receive(f"mail:{self._nonce}", MAIL_WAIT)
            if not isinstance(outcome, RedisReply):
                yield Sleep(next(pauses))  # the flow that refreshes the lease logs it
                continue
            pauses = full_jitter(REDIS_WAIT, uniform)
            if outcome.values[0] is not None:
                self._owned.take(outcome.values[0][1])

    def _until_begun(self) -> Flow[None]:
        while not self._running.current and not self._ended:
            yield WaitForChange(self._running, False, LONG_WAIT)

    def _log_state(self, error: SessionDirectoryUnavailable | None) -> None:
        """Log that Redis fails, or works again: once each."""
        if error is not None and not self._failing:
            log.warning("directory.unavailable", directory=self._calls.name, why=str(error))
        elif error is None and self._failing:
            log.info("directory.available", directory=self._calls.name)
        self._failing = error is not None
