"""Session directory in Redis: entries, leases and queues in one server, changed by Lua scripts.

`redis_scripts` has the keys and what each script does, `redis_lease` the lease. What follows from
them, and what is assumed:

- **A hand-over needs no polling.** A process that waits is in a queue in Redis. It sends a message
  to the owner; the owner releases, and the script sends one to the first that waits. A message that
  is lost costs the time until the next refresh of the owner, or until the waiter asks again.
- **A waiter asks again when the lease that it waits for would end**: so it learns of a dead owner.
- **After a failover or a restart, nothing is acquired for the length of a lease.** Redis replicates
  after it has answered, so a replica may miss the last acquisitions. Leases end with the server
  process, and what was released before may have been acquired since: it is not handed over in
  order, but taken over, with a fence. The same holds for an empty server, also for one that is new:
  the first call of a service's first process takes two seconds more.
- **An acknowledged entry survives the loss of the master** if a replica is connected: a write waits
  for it, `REPLICA_TIMEOUT` at most. If the replica hangs, calls go on, and
  `directory.not_replicated` is logged: an entry is lost then only if the master fails, too.
- **There is one master.** One that is cut off from its replicas goes on as one while others are
  promoted, unless ``min-replicas-to-write`` is set there.
- **It removes nothing by itself**: ``maxmemory-policy noeviction``. The server's clock is not set
  forward by more than the lease's margin.
"""

import itertools
import shlex
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from kato_consul._directory.directory import Held, LeaseLost, Stored, never
from kato_consul._directory.entry import Entry
from kato_consul._directory.lease import Lease, boottime
from kato_consul._directory.redis_background import RedisBackground
from kato_consul._directory.redis_calls import Answer, RedisCalls
from kato_consul._directory.redis_lease import OwnLease
from kato_consul._directory.redis_owned import Acquisition, Owned
from kato_consul._directory.redis_script import OWNED
from kato_consul._directory.redis_scripts import ACQUIRE, DISOWN, LEAVE, LIMITS, READ, WRITE
from kato_consul._flow import Clock, Flow, Random, Sleep, WaitForChange
from kato_consul._logging import logger
from kato_consul._runtime_defaults import clock as default_clock
from kato_consul._runtime_defaults import uniform
from kato_consul._secret import Secret
from kato_consul.errors import SessionDirectoryUnavailable, SessionOwnedElsewhere

AT_ONCE = 100
"""Entries that are read with one command: 6 MB at most."""

log = logger("directory")


class RedisDirectory:
    """The `Directory` of one service in Redis, for one client.

    ``label`` names this process to people: ``host:pid``. The clocks and the source of random
    numbers are those of production unless given; ``wall`` returns Unix time.
    """

    def __init__(
        self,
        url: Secret,
        service: str,
        label: str,
        *,
        clock: Clock = default_clock,
        random: Random = uniform,
        now: Clock = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Import redis-py; nothing is sent.

        Raises:
            ConfigurationError: the URL cannot be used, or redis-py is not installed.
        """
        self.nonce = uuid.uuid4().hex
        self._calls = RedisCalls(url, service, clock=clock, random=random, now=now)
        self.name = self._calls.name
        self._label, self._clock, self._wall = label, clock, wall
        self._lease = OwnLease(self._calls, self.nonce, now)
        self._owned = Owned()
        self.wanted = self._owned.wanted
        self._background = RedisBackground(self._calls, self._lease, self._owned, self.nonce)
        self._ids = itertools.count(1)
        self._settling_told: Lease | None = None

    def acquire(self, key: str, deadline: float) -> Flow[tuple[Held, Entry | None]]:
        """Flow: see `Directory.acquire`."""
        self._background.begin()
        acquisition = Acquisition(f"{self.nonce}:{next(self._ids)}", key)
        with self._owned.waiting(acquisition):
            while True:
                lease, number = yield from self._lease.current(deadline)
                seen = acquisition.messages.current
                answer = yield from self._calls.run(
                    ACQUIRE,
                    *(key, acquisition.id, number, self._label),
                    deadline=deadline,
                    replicate=self._lease.replicas,
                )
                if answer.status == "held":
                    self._lease.extend(lease, answer.sent_at)
                    if lease.is_valid():
                        self._check_replicated(key, answer)
                        return self._acquired(acquisition, lease, answer)
                elif answer.status == "lapsed":
                    yield from self._lease.refresh(deadline)
                elif answer.status == "over":  # it was given up by hand, before the answer came
                    return (yield from self.acquire(key, deadline))
                else:
                    yield from self._wait(acquisition, seen, answer, deadline)

    def _wait(
        self, acquisition: Acquisition, seen: int, answer: Answer, deadline: float
    ) -> Flow[None]:
        """Flow: wait for a message, or until it is worth asking again."""
        left = deadline - self._clock()
        if answer.status == "settling":
            if left <= 0:
                raise self._calls.unavailable(
                    "its server is new, or was restarted or replaced, so the leases of before have "
                    "to end first, which takes 2 s"
                )
            seconds = answer.values[1] / 1000
            if self._settling_told is not self._lease.lease:  # not for each of many calls
                self._settling_told = self._lease.lease
                log.info("directory.settling", directory=self.name, seconds=seconds)
            yield Sleep(min(seconds, left))
            return
        acquisition.waited = True
        owner, milliseconds = bytes(answer.values[1]).decode(), answer.values[2]
        if left <= 0:
            raise SessionOwnedElsewhere(
                acquisition.key,
                owner or "another process",
                "it was not released before the deadline",
            )
        # A little later than its end: Redis counts whole milliseconds.
        pause = max(milliseconds, 0) / 1000 + 0.01
        yield WaitForChange(acquisition.messages, seen, min(pause, left))

    def _acquired(
        self, acquisition: Acquisition, lease: Lease, answer: Answer
    ) -> tuple[Held, Entry | None]:
        _, value, before, wanted = answer.values
        previous = None if before is None else self._entry(acquisition.key, value, before)
        entry = (previous or Entry(key=acquisition.key)).acquired_by(self.nonce, self._label)
        held = Held(entry, lease, acquisition, wanted=bool(wanted), waited=acquisition.waited)
        self._owned.add(acquisition, held)
        return held, previous

    def write(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: see `Directory.write`."""
        yield from self._change(held, entry, "write", deadline)

    def release(self, held: Held, entry: Entry, deadline: float) -> Flow[None]:
        """Flow: see `Directory.release`."""
        yield from self._change(held, entry, "release", deadline)
        self._owned.discard(held)

    def _change(self, held: Held, entry: Entry, how: str, deadline: float) -> Flow[None]:
        acquisition = held.token
        assert isinstance(acquisition, Acquisition)
        key = acquisition.key
        if not held.lease.lost:
            answer = yield from self._calls.run(
                WRITE,
                *(key, acquisition.id, next(acquisition.writes), entry.encode(), entry.revision),
                *(self._milliseconds(entry), int(entry.released), how),
                deadline=deadline,
                replicate=self._lease.replicas,
            )
            if answer.status == "ok":
                self._check_replicated(key, answer)
                held.entry = entry
                return
        self._owned.discard(held)
        raise LeaseLost(f"session {key!r} is no longer this process' ({self.name})")

    def _milliseconds(self, entry: Entry) -> int:
        """Return how long an entry is kept."""
        if not entry.expires_at:
            return round(OWNED * 1000)
        return max(0, round((entry.expires_at - self._wall()) * 1000))

    def _check_replicated(self, key: str, answer: Answer) -> None:
        if not answer.replicated:
            log.warning("directory.not_replicated", directory=self.name, key=key)

    def disown(self, key: str, deadline: float, is_known: Callable[[], bool] = never) -> Flow[None]:
        """Flow: see `Directory.disown`. What this process does not know of is given up anyway, in
        the background."""
        found = self._owned.find(key)
        if found is not None and not is_known():
            acquisition, held = found
            yield from self._calls.run(DISOWN, key, acquisition.id, deadline=deadline)
            self._owned.discard(held)

    def confirm(self, deadline: float) -> Flow[bool]:
        """Flow: see `Directory.confirm`."""
        lease = self._lease.lease
        if lease.lost:
            return False
        yield from self._background.refresh(deadline)
        return self._lease.lease is lease and lease.is_valid()

    def entry(self, key: str, deadline: float) -> Flow[Stored | None]:
        """Flow: see `Directory.entry`."""
        answer = yield from self._calls.run(READ, key, deadline=deadline)
        ((value, state, owned),) = answer.values
        return None if state is None else Stored(self._entry(key, value, state), bool(owned))

    def entries(self, deadline: float) -> Flow[list[Stored]]:
        """Flow: see `Directory.entries`."""
        names = yield from self._calls.scan("entry:*", deadline)
        keys = sorted(name.removeprefix(b"entry:").decode() for name in names)
        stored: list[Stored] = []
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            answer = yield from self._calls.run(READ, *some, deadline=deadline)
            for key, (value, state, owned) in zip(some, answer.values, strict=True):
                if state is None:
                    continue  # it has just been removed
                try:
                    stored.append(Stored(_entry(key, value, state), bool(owned)))
                except ValueError as error:
                    log.warning("directory.entry_unusable", directory=self.name, why=str(error))
        return stored

    def _entry(self, key: str, value: bytes | None, state: bytes) -> Entry:
        """Return an entry.

        Raises:
            SessionDirectoryUnavailable: it cannot be read.
        """
        try:
            return _entry(key, value, state)
        except ValueError as error:
            path = shlex.quote(f"{self._calls.prefix}entry:{key}")
            raise self._calls.unavailable(
                f"the entry of session {key!r} cannot be used: {error}. If no process uses it, "
                f"delete it with: redis-cli del {path}"
            ) from None

    def eviction_policy(self, deadline: float) -> Flow[str]:
        """Flow: see `Directory.eviction_policy`."""
        answer = yield from self._calls.run(LIMITS, deadline=deadline)
        policy, maximum = bytes(answer.values[0]).decode(), int(answer.values[1])
        return "" if not maximum or policy == "noeviction" else policy

    def background(self) -> list[tuple[Flow[None], str]]:
        """Return the flows that run as long as the client, each with its name."""
        return self._background.flows()

    def leave(self, deadline: float) -> Flow[None]:
        """Flow: see `Directory.leave`."""
        self._background.end()
        self._lease.end()
        if self._lease.confirmed:
            try:
                yield from self._calls.run(LEAVE, self.nonce, deadline=deadline)
            except SessionDirectoryUnavailable as error:
                log.warning("directory.unavailable", directory=self.name, why=str(error))


class _State(msgspec.Struct):
    """Who owns an entry, as the scripts write it. It is newer than the entry's own fields."""

    by: str
    label: str
    epoch: int
    revision: int
    incarnation: str
    released: bool = False


_state_decoder = msgspec.json.Decoder(_State, strict=False)


def _entry(key: str, value: bytes | None, state: bytes) -> Entry:
    """Return an entry as it is by its value and its state."""
    entry = Entry(key=key) if value is None else Entry.decode(value)
    now = _state_decoder.decode(state)
    fields: dict[str, Any] = {
        "owner": now.by.partition(":")[0],
        "owner_label": now.label,
        "epoch": now.epoch,
        "revision": now.revision,
        "released": now.released,
        "incarnation": now.incarnation,
    }
    return msgspec.structs.replace(entry, **fields)
