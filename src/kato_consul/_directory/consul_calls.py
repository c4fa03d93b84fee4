"""Calls of Consul's session directory: retried until a deadline, with errors that name the rule.

A transaction is not simply sent again after its answer was lost: it may have been carried out. So
`Calls` sends a request once, and the flow that sent it asks `Attempts.after` to wait or to give up,
and then finds out what became of it.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.agents import Agents, another_agent_may_serve
from kato_consul._consul.call import CONSUL_TIMEOUT, ConsulCall, call_consul
from kato_consul._consul.kv_api import KvApi, Operation, Record, Records, Refused
from kato_consul._directory.consul_keys import Keys
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnreachable,
    SessionDirectoryUnavailable,
)

T = TypeVar("T")

OWNER_SERVICE = "kato-consul-owner"
"""The name of the services whose checks show that an owner is alive."""

SHORTEST = 0.05
"""Seconds that a request to Consul has at least. With less time left, none is sent."""


class Calls:
    """Sends requests to the agents of one cluster. ``name`` is what errors call the directory."""

    def __init__(
        self, agents: Agents[KvApi], name: str, keys: Keys, clock: Clock, random: Random
    ) -> None:
        self.name = name
        self.agents = agents
        self.clock = clock
        self.random = random
        self._policy = (
            f'key_prefix "{keys.prefix}" {{ policy = "write" }}',
            f'service "{OWNER_SERVICE}" {{ policy = "write" }}',
            'session_prefix "" { policy = "write" }',
        )

    def once(self, call_of: Callable[[KvApi], ConsulCall[T]], deadline: float) -> Flow[T]:
        """Flow: send one request to the agent in use, and wait until ``deadline`` at most.

        Raises:
            ConsulError: as `call_consul`.
        """
        call = call_of(self.agents.current)
        remaining = max(deadline - self.clock(), SHORTEST)
        return call_consul(call.with_timeout(min(remaining, call.send.timeout)))

    def transact(
        self, operations: Sequence[Operation], deadline: float
    ) -> Flow[tuple[Record, ...] | Refused]:
        """Flow: send a transaction as `once`. See `KvApi.transact`."""
        return self.once(lambda api: api.transact(operations), deadline)

    def read(
        self, prefix: str, deadline: float, *, index: int = 0, wait: float = 0.0, one: bool = False
    ) -> Flow[Records]:
        """Flow: read keys as `once`. See `KvApi.read_keys`. A query that blocks is given up when it
        should have returned."""
        return self.once(
            lambda api: api.read_keys(prefix, index=index, wait=wait, one=one), deadline
        )

    def until_answered(self, call_of: Callable[[KvApi], ConsulCall[T]], deadline: float) -> Flow[T]:
        """Flow: send a request that only reads, until Consul answers.

        Raises:
            SessionDirectoryUnavailable: it did not answer before the deadline, or refused it.
        """
        attempts = self.attempts(deadline)
        while True:
            try:
                return (yield from self.once(call_of, deadline))
            except ConsulError as error:
                yield from attempts.after(error)

    def attempts(self, deadline: float) -> "Attempts":
        """Return the attempts of one call with this deadline."""
        return Attempts(self, deadline)

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failure in a row."""
        return full_jitter(CONSUL_WAIT, self.random)

    def unavailable(self, why: str, *, denied: bool = False) -> SessionDirectoryUnavailable:
        """Return the error of a call that the directory did not serve."""
        return SessionDirectoryUnavailable(self.name, why, denied=denied)

    def unusable_entry(self, key: str, path: str, why: str) -> SessionDirectoryUnavailable:
        """Return the error of a call that needs an entry which cannot be read."""
        return self.unavailable(
            f"the entry of session {key!r} cannot be used: {why}. If no process uses it, delete it "
            f"with: consul kv delete {shlex.quote(path)}"
        )

    def refused(self, error: ConsulError) -> SessionDirectoryUnavailable:
        """Return the error of a call that Consul refused, or did not answer in time."""
        why, denied = str(error), isinstance(error, ConsulDenied)
        if denied:
            rules = " ".join(self._policy)
            why = f"{why}. The directory needs these rules: {rules}"
        return self.unavailable(why, denied=denied)


class Attempts:
    """The attempts of one call, until its deadline."""

    def __init__(self, calls: Calls, deadline: float) -> None:
        self._calls = calls
        self._deadline = deadline
        self._pauses = calls.pauses()
        self._failures = 0
        self._before: ConsulError | None = None

    def after(self, error: ConsulError) -> Flow[None]:
        """Flow: wait after a failed request, until another one makes sense.

        Raises:
            SessionDirectoryUnavailable: the deadline is over before that, or Consul refuses it.
        """
        calls = self._calls
        api = calls.agents.current
        if isinstance(error, ConsulDenied | ConsulRejected):
            raise calls.refused(error) from error
        self._failures += 1
        calls.agents.record_failure(api)
        if another_agent_may_serve(error) and self._failures % len(calls.agents):
            pause = 0.0
        else:
            pause = next(self._pauses) + (error.retry_after or 0.0)
        remaining = self._deadline - calls.clock()
        if remaining <= SHORTEST:
            if self._before is not None and isinstance(error, ConsulUnreachable) and not error.sent:
                error = self._before  # the last attempt had no time to find what is wrong
            raise calls.refused(error) from error
        self._before = error
        if pause:
            yield Sleep(min(pause, remaining))


LONGEST_CALL = CONSUL_TIMEOUT / 2
"""Seconds that a request in the background may take: nothing waits for it, and it is repeated."""
