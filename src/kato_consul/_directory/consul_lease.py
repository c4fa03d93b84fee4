"""Lease of an owner in Consul: a TTL check, a Consul session bound to it, and its lock-delay.

**Alive.** An owner registers a service of its own, whose TTL check it passes at its agent twice a
second. That costs the servers nothing, since the status does not change. Its Consul session ends
with the check: `TTL` after the process was killed or stopped. It ends with ``serfHealth``, too: if
the machine fails, no agent is left that could report the check as critical. (A check without a
service would need no service; but a critical check of a node excludes all services on it.)

**The lease** is the lock-delay. A key that a Consul session had locked can be locked by another one
only `LOCK_DELAY` after that session ended. If a consistent read finds the session, it ends later
than that. So until `LOCK_DELAY` after the request was *sent*, nothing that it has locked can be
acquired. The same holds for each transaction that locks a key with it. The agent's answer to a
heartbeat proves nothing: the agent does not ask the servers.

This assumes that the clocks of Consul's servers are as fast as this one, but for `MARGIN`. The
lock-delay is only in the memory of the servers that have applied the end of the session. A server
that becomes the leader within that second must have applied it, not restored it from a snapshot.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kato_consul._consul.call import call_consul
from kato_consul._consul.kv_api import KvApi
from kato_consul._directory.consul_calls import LONGEST_CALL, OWNER_SERVICE, SHORTEST, Calls
from kato_consul._directory.lease import Lease
from kato_consul._flow import LONG_WAIT, Flow, Sleep, WaitForChange
from kato_consul._logging import logger
from kato_consul._observable import Observable
from kato_consul.errors import ConsulDenied, ConsulError, ConsulRejected
from kato_consul.models import Health

log = logger("directory")

TTL = 2.0
"""Seconds after which the agent reports an owner without heartbeats as dead."""

HEARTBEAT = 0.5
"""Seconds between two heartbeats: three may be late or lost."""

LOCK_DELAY = 1.0
"""Seconds of Consul's lock-delay."""

MARGIN = 0.1
"""Seconds by which the lease is shorter than the lock-delay."""

LENGTH = LOCK_DELAY - MARGIN
"""Seconds of the lease."""

DEREGISTER_AFTER = "1m"
"""After this time the agent deregisters the service of a process that died: Consul's shortest."""


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """An owner's Consul session, the agent that has its check, and the lease."""

    api: KvApi
    session: str
    lease: Lease = field(default_factory=Lease)


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """Why the last registration failed."""

    error: ConsulError


class ConsulLease:
    """One owner's registrations, one after the other. There is none until the first is needed."""

    def __init__(self, calls: Calls, service: str, nonce: str, label: str) -> None:
        self.label = label
        self.state: Observable[Registered | Failed | None] = Observable(None)
        self._answered = object()
        self._needed = Observable(self._answered)
        self._confirmed = Observable(object())
        self._calls = calls
        self._service = service
        self._id = f"{OWNER_SERVICE}-{nonce}"
        self._former: list[Registered] = []

    @property
    def current(self) -> Registered | None:
        """The registration, if there is one."""
        state = self.state.current
        return state if isinstance(state, Registered) else None

    def registered(self, deadline: float) -> Flow[Registered]:
        """Flow: return the registration; wait for it if there is none.

        Raises:
            SessionDirectoryUnavailable: Consul refused it, or did not answer before the deadline.
        """
        seen = self.state.current
        while True:
            state = self.state.current
            if isinstance(state, Registered):
                return state
            remaining = deadline - self._calls.clock()
            if isinstance(state, Failed) and (remaining <= SHORTEST or state is not seen):
                permanent = isinstance(state.error, ConsulDenied | ConsulRejected)
                if permanent or remaining <= SHORTEST:
                    raise self._calls.refused(state.error) from state.error
            elif remaining <= SHORTEST:
                raise self._calls.unavailable("this process was not registered in time")
            self._needed.set(object())
            yield WaitForChange(self.state, state, remaining)

    def proven(self, registered: Registered, asked_at: float) -> None:
        """Record that Consul has proven the Consul session by the answer to a request that was sent
        at ``asked_at``, on the lease's clock."""
        registered.lease.extend(asked_at + LENGTH)
        self._confirmed.set(object())

    def lose(self, registered: Registered, why: str) -> None:
        """Record that the Consul session has ended, or will: the lease is lost."""
        registered.lease.lose()
        if self.state.current is registered:
            log.warning("directory.lease_lost", directory=self._calls.name, why=why)
            self._former.append(registered)
            self.state.set(None)

    def confirm(self, deadline: float) -> Flow[bool]:
        """Flow: read the Consul session; return whether it still exists. Without one: False.

        Raises:
            SessionDirectoryUnavailable: Consul did not answer before the deadline.
        """
        registered = self.current
        if registered is None:
            return False
        attempts = self._calls.attempts(deadline)
        while True:
            try:
                return (yield from self._confirm(registered, deadline))
            except ConsulError as error:
                yield from attempts.after(error)

    def _confirm(self, registered: Registered, deadline: float) -> Flow[bool]:
        if registered.lease.lost:
            return False
        asked_at = registered.lease.now()
        exists = yield from self._calls.once(
            lambda api: api.has_session(registered.session), deadline
        )
        if exists:
            self.proven(registered, asked_at)
        else:
            self.lose(registered, "the Consul session has ended")
        return exists

    def keep_registered(self) -> Flow[None]:
        """Flow: register this process when that is needed, and send its heartbeats."""
        pauses = self._calls.pauses()
        while True:
            state = self.state.current
            if isinstance(state, Registered):
                yield from self._heartbeat(state, pauses)
                continue
            needed = self._needed.current
            if needed is self._answered:
                yield WaitForChange(self._needed, needed, LONG_WAIT)
                continue
            self._answered, api = needed, self._calls.agents.current
            try:
                registered = yield from self._register(api)
            except ConsulError as error:
                self._calls.agents.record_failure(api)
                self.state.set(Failed(error))
                yield Sleep(next(pauses) + (error.retry_after or 0.0))
            else:
                self.state.set(registered)
                self._confirmed.set(object())
                pauses = self._calls.pauses()

    def keep_confirmed(self) -> Flow[None]:
        """Flow: confirm the lease three times in its length, while it is used. If it is not, it
        ends, and costs Consul nothing; the next call confirms it, and this goes on."""
        while True:
            confirmed, registered = self._confirmed.current, self.current
            lease = registered.lease if registered else None
            if registered is None or lease is None or not lease.is_valid():
                yield WaitForChange(self._confirmed, confirmed, LONG_WAIT)
                continue
            if lease.used and lease.end - lease.now() < LENGTH * 2 / 3:
                lease.used = False
                try:
                    yield from self._confirm(registered, self._calls.clock() + LENGTH)
                except ConsulError:
                    lease.used = True  # calls report it; this only tries again
            yield Sleep(LENGTH / 6)

    def leave(self, deadline: float) -> Flow[None]:
        """Flow: end the Consul session, and deregister the service. Nothing is raised if Consul
        cannot be reached: both end by themselves."""
        registered = self.current
        if registered is None:
            return
        registered.lease.lose()
        self.state.set(None)
        for call in (
            registered.api.destroy_session(registered.session),
            registered.api.deregister(self._id),
        ):
            remaining = deadline - self._calls.clock()
            try:
                yield from call_consul(call.with_timeout(max(SHORTEST, min(remaining, TTL))))
            except ConsulError:
                return

    def _heartbeat(self, registered: Registered, pauses: Iterator[float]) -> Flow[None]:
        """Flow: send one heartbeat, and wait for the next."""
        call = registered.api.update_ttl(self._id, Health.PASSING, "owner of sessions")
        try:
            known = yield from call_consul(call.with_timeout(TTL / 2))
        except ConsulError as error:
            pause = next(pauses) + (error.retry_after or 0.0)
        else:
            if not known:  # the agent was restarted, or its service was deregistered
                self.lose(registered, "the agent has lost the service of this process")
                return
            pause = HEARTBEAT * (1 - 0.2 * self._calls.random())
        yield WaitForChange(self.state, registered, pause)

    def _register(self, api: KvApi) -> Flow[Registered]:
        while self._former:  # its locks end with it
            former = self._former.pop()
            try:
                yield from call_consul(
                    former.api.destroy_session(former.session).with_timeout(TTL / 2)
                )
            except ConsulError:
                break  # its check ends it
        yield from call_consul(api.register_service(self._payload()).with_timeout(LONGEST_CALL))
        # An agent that has the service already keeps the status of its check.
        heartbeat = api.update_ttl(self._id, Health.PASSING, "owner of sessions")
        yield from call_consul(heartbeat.with_timeout(LONGEST_CALL))
        lease = Lease()
        asked_at = lease.now()
        session = yield from call_consul(
            api.create_session(self._id, self._id, LOCK_DELAY).with_timeout(LONGEST_CALL)
        )
        lease.extend(asked_at + LENGTH)
        return Registered(api, session, lease)

    def _payload(self) -> dict[str, Any]:
        return {
            "ID": self._id,
            "Name": OWNER_SERVICE,
            "Tags": [self._service],
            "Meta": {"service": self._service, "process": self.label},
            "Check": {
                "CheckID": self._id,
                "Name": "This process owns sessions",
                "TTL": f"{round(TTL * 1000)}ms",
                "Status": Health.PASSING.value,
                "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
            },
        }
