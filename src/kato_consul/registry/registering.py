"""Putting instances into Consul, keeping them there, and taking them out: all of them, or none.

Registering is idempotent: the agent keeps the state of a check that is registered again, so an
instance that passes does not flap. What a run put in is taken out again when the run fails; what
was there before stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kato_consul.backoff import CONSUL_WAIT, full_jitter
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
    NotPassing,
)
from kato_consul.flow import Clock, Flow, Random, Sleep
from kato_consul.model import Health, Instance, Snapshot
from kato_consul.registry.calls import Call, ConsulCalls, T, ask
from kato_consul.registry.definition import ServiceDefinition
from kato_consul.registry.pacing import TokenBucket
from kato_consul.registry.watching import BURST, RATE, SLACK, next_index

ROLL_BACK_WITHIN = 3.0
"""Seconds for taking one instance out again: the job is failing already, and somebody waits."""

LOOK_AGAIN = 5.0
"""Seconds between looks at whether the agent still has what was registered."""

CONSUL_WITHIN = 10.0
"""Seconds that an agent which does not answer is given to: one that was started with us, or that
is between two leaders (an election takes a few seconds)."""

Say = Callable[[str, str], None]
"""Told of progress: who (an instance's id, or ``consul``), and what happened."""


class Registering:
    """Flows for a set of definitions, on one agent."""

    def __init__(
        self,
        calls: ConsulCalls,
        definitions: Sequence[ServiceDefinition],
        *,
        clock: Clock,
        random: Random,
        say: Say = lambda who, what: None,
    ) -> None:
        self._calls = calls
        self._definitions = list(definitions)
        self._clock = clock
        self._random = random
        self._say = say
        self.added: list[str] = []
        """Ids that were not in the agent before: what has to be taken out when the run fails."""

    def register(self, *, wait: float, consul_within: float = CONSUL_WITHIN) -> Flow[None]:
        """Flow: register all, and see all passing within ``wait`` seconds (0: do not wait).

        On any error, what this flow added is taken out again before the error is raised.

        Raises:
            ConsulError: the agent did not answer within ``consul_within`` seconds, or would not
                have a definition.
            NotPassing: somebody was not passing in time.
        """
        before = yield from self._patiently(self._calls.agent_services(), consul_within)
        try:
            for one in self._definitions:
                if one.id not in before:
                    self.added.append(one.id)
                try:
                    yield from self._put_in(one, consul_within)
                except (ConsulDenied, ConsulRejected):
                    if one.id not in before:
                        self.added.remove(one.id)  # never in: there is nothing to take out
                    raise
                self._say(one.id, "registered" if one.id not in before else "registered again")
            if wait:
                yield from self._wait_for_passing(wait)
        except Exception:  # whatever it is: nothing half-registered stays behind
            yield from self.roll_back()
            raise

    def keep(self) -> Flow[None]:
        """Flow without end: register again what the agent has lost, or has otherwise."""
        trouble = ""
        while True:
            yield Sleep(LOOK_AGAIN)
            try:
                there = yield from ask(self._calls.agent_services())
                first: ConsulError | None = None
                for one in self._definitions:
                    if one.id not in there or differs(one, there[one.id]):
                        lost = "is gone from" if one.id not in there else "was changed in"
                        try:
                            yield from self._put_in(one, CONSUL_WITHIN)
                            self._say(one.id, f"{lost} the agent, registered again")
                        except ConsulError as error:
                            first = first or error
                if first is not None:
                    raise first
            except ConsulError as error:
                # Whatever it is, it may pass: a token that is not there yet, a restart. Said once.
                if str(error) != trouble:
                    self._say("consul", str(error))
                trouble = str(error)
            else:
                if trouble:
                    self._say("consul", "answers again")
                trouble = ""

    def deregister(self) -> Flow[None]:
        """Flow: take all out. One that is not there is as good as taken out.

        Raises:
            ConsulError: the first one that came; the others were taken out all the same.
        """
        # Asked first: agents before 1.9 answer 200 for an id that they never heard of.
        there = yield from self._patiently(self._calls.agent_services(), CONSUL_WITHIN)
        first: ConsulError | None = None
        for one in self._definitions:
            try:
                if one.id in there:
                    yield from self._patiently(self._calls.deregister(one.id), CONSUL_WITHIN)
                self._say(one.id, "deregistered" if one.id in there else "was not registered")
            except ConsulError as error:
                first = first or error
        if first is not None:
            raise first

    def roll_back(self) -> Flow[None]:
        """Flow: take out what `register` added; what cannot be taken out is told, not raised."""
        while self.added:
            instance_id = self.added.pop()
            try:
                call = self._calls.deregister(instance_id).within(ROLL_BACK_WITHIN)
                if (yield from ask(call)):
                    self._say(instance_id, "taken out again")
            except ConsulError as error:
                self._say(instance_id, f"could not be taken out again: {error}")

    def _put_in(self, one: ServiceDefinition, within: float) -> Flow[None]:
        yield from self._patiently(self._calls.register(one.name, one.id, one.fields()), within)

    def _patiently(self, call: Call[T], within: float) -> Flow[T]:
        """Make a call, again and again while the agent cannot serve it, for ``within`` seconds."""
        until = self._clock() + within
        pauses = full_jitter(CONSUL_WAIT, self._random)
        while True:
            try:
                return (yield from ask(call))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                left = until - self._clock()
                if left <= 0:
                    raise
                yield Sleep(min(next(pauses) + (error.retry_after or 0.0), left))

    def _wait_for_passing(self, wait: float) -> Flow[None]:
        until = self._clock() + wait
        for service in sorted({one.name for one in self._definitions}):
            waiting = {one.id: one for one in self._definitions if one.name == service}
            yield from self._wait_for_service(service, waiting, until, wait)

    def _wait_for_service(
        self, service: str, waiting: dict[str, ServiceDefinition], until: float, wait: float
    ) -> Flow[None]:
        """What clients see is waited for: the catalog's view, by a blocking query."""
        bucket = TokenBucket(RATE, BURST)
        pauses = full_jitter(CONSUL_WAIT, self._random)
        index = 0
        snapshot: Snapshot | None = None
        while waiting:
            left = until - self._clock()
            if left <= 0:
                instances = snapshot.instances if snapshot else ()
                raise NotPassing(
                    wait, _reasons(waiting, instances, (yield from self._agents_words()))
                )
            if pause := bucket.take(self._clock()):
                yield Sleep(min(pause, left))
                left = max(0.0, until - self._clock())
            call = self._calls.health(service, index=index, wait=left if index else None)
            try:
                snapshot = yield from ask(call.within(left + left / 16 + SLACK))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                left = until - self._clock()
                if left <= 0:
                    raise
                index = 0
                yield Sleep(min(next(pauses) + (error.retry_after or 0.0), left))
                continue
            pauses = full_jitter(CONSUL_WAIT, self._random)
            index = next_index(index, snapshot.index)
            for one in snapshot.instances:
                if one.health is Health.PASSING and _is_ours(one, waiting.get(one.id)):
                    del waiting[one.id]
                    self._say(one.id, "passing")

    def _agents_words(self) -> Flow[Mapping[str, Mapping[str, Any]]]:
        """What the agent's checks say, if it tells."""
        try:
            return (yield from ask(self._calls.agent_checks()))
        except ConsulError:
            return {}


def differs(one: ServiceDefinition, there: Mapping[str, Any]) -> bool:
    """Does the agent have the service otherwise than it is defined?"""
    return (
        one.name != there.get("Service")
        or one.address != (there.get("Address") or "")
        or one.port != there.get("Port")
        or list(one.tags) != (there.get("Tags") or [])
        or dict(one.meta) != (there.get("Meta") or {})
    )


def _is_ours(seen: Instance, one: ServiceDefinition | None) -> bool:
    """Another agent may have an instance with the same id; where it is tells them apart."""
    return one is not None and one.port == seen.port and one.address in ("", seen.address)


def _reasons(
    waiting: Mapping[str, ServiceDefinition],
    instances: Iterable[Instance],
    checks: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """Why each is not passing: its health in the catalog, and what its check says in the agent.

    The agent holds back changes of the output alone (``check_update_interval``, 5 minutes), so the
    catalog may still have nothing to say.
    """
    seen = {one.id: one for one in instances if _is_ours(one, waiting.get(one.id))}
    said = {check["ServiceID"]: " ".join(check["Output"].split()) for check in checks.values()}
    return {
        one: f"{seen[one].health}, {said.get(one) or seen[one].output}"
        if one in seen
        else "not in the catalog yet"
        for one in sorted(waiting)
    }
