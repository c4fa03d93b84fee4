"""Failover: sends a request to one instance after another until one answers.

Instances are tried in rounds; `Pool` chooses each next one. An instance that failed is skipped for
the rest of the round. After a round without success there is a pause, and the next round starts
with the instances of the newest snapshot, until the deadline. There is none if all instances speak
plain http where https is used: that is a mistake, which no time mends.

A request that may have been applied is sent again only if it is `repeatable`. Otherwise
`OutcomeUnknown` is raised, and the caller settles it.

Attempts after the first consume retry budget; while it is empty they wait. Requests that follow up
an earlier one, to settle or repair it, have a budget of their own: a call that is nearly done does
not wait behind the retries of others. With ``hedge`` a repeatable request is also sent to a second
instance once the first takes longer than the 95th percentile of recent reads. That attempt also
consumes retry budget.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from kato_consul._backoff import INSTANCE_WAIT, full_jitter
from kato_consul._balancing.pool import Pool
from kato_consul._flow import (
    Cause,
    Clock,
    Failure,
    Flow,
    Outcome,
    Random,
    Reply,
    Sleep,
    WaitForChange,
)
from kato_consul._observable import SnapshotStore
from kato_consul._requests.attempt import Backup, log_retry, send_hedged, send_once
from kato_consul._requests.classify import Delivery, describe
from kato_consul._requests.request import Answer, Request, RoutingHint
from kato_consul._requests.usable_instances import wait_for_usable
from kato_consul.errors import KatoError, NoInstances, NoResponse, OutcomeUnknown, RequestNotSent
from kato_consul.models import Instance, Snapshot


@dataclass(slots=True)
class Failover:
    """Sends requests to a service, with failover between its instances.

    Args:
        store: Holds the newest snapshot of the instances.
        pool: Chooses instances and records what their outcomes reveal.
        clock: Monotonic seconds.
        random: Uniform in [0, 1), for jitter.
        hedge: True: hedge repeatable requests.
        wait_for_instances: Seconds that a call waits while Consul lists no usable instance; None:
            until its deadline.
    """

    store: SnapshotStore
    pool: Pool
    clock: Clock
    random: Random
    hedge: bool = False
    wait_for_instances: float | None = None
    contacted: dict[str, Instance] = field(default_factory=dict, init=False)

    def call(
        self, request: Request, deadline: float, hint: RoutingHint | None = None
    ) -> Flow[Answer]:
        """Flow: send the request until an instance answers.

        Args:
            request: What to send.
            deadline: When to give up, on ``clock``.
            hint: Where to send it. Without one the pool's policy chooses.

        Raises:
            OutcomeUnknown: It may have been applied and is not repeatable.
            RequestNotSent: No instance accepted it before the deadline; nothing was applied.
            NoResponse: It is repeatable, and no instance answered before the deadline.
            NoInstances, ConsulError: There was no usable instance before the deadline, or for
                ``wait_for_instances`` seconds.
        """
        return _Call(self, request, deadline, hint).run()

    def attempt(
        self, request: Request, uid: str, deadline: float, *, listed: bool = True
    ) -> Flow[Outcome | None]:
        """Flow: send the request once, to one given instance.

        Args:
            request: What to send.
            uid: The instance.
            deadline: When the attempt ends at the latest, on ``clock``.
            listed: True: Consul must list the instance now. False: an instance that this object
                has sent a request to before is accepted, too.

        Returns None if there is no such instance.
        """
        while self.store.current is None and (remaining := deadline - self.clock()) > 0:
            yield WaitForChange(self.store, None, remaining)
        snapshot = self.store.current
        instance = snapshot.by_uid.get(uid) if snapshot is not None else None
        if instance is None and not listed:
            instance = self.contacted.get(uid)
        if instance is None:
            return None
        self.contacted[uid] = instance
        return (yield from send_once(self.pool, self.clock, instance, request, deadline))


class _Call:
    """One call in progress: choose an instance, attempt, classify, and again if it failed."""

    __slots__ = (
        "_deadline",
        "_failover",
        "_failovers",
        "_hint",
        "_is_retry",
        "_last_failure",
        "_last_is_server_error",
        "_may_be_received",
        "_only_not_tls",
        "_pauses",
        "_request",
        "_sent",
        "_tried",
    )

    def __init__(
        self, failover: Failover, request: Request, deadline: float, hint: RoutingHint | None
    ) -> None:
        self._failover = failover
        self._request = request
        self._deadline = deadline
        self._hint = hint
        self._tried = {hint.avoid} if hint is not None and hint.avoid else set()
        self._is_retry = request.follow_up
        self._failovers = 0
        self._may_be_received = False
        self._sent = False
        self._last_failure = ""
        self._last_is_server_error = False
        self._only_not_tls = False
        self._pauses: Iterator[float] | None = None

    def run(self) -> Flow[Answer]:
        """Flow: attempt until an instance answers."""
        failover, request, deadline = self._failover, self._request, self._deadline
        pool, clock = failover.pool, failover.clock
        if not self._is_retry:
            pool.budget.deposit(clock())
        while True:
            instance, backup = yield from self._next_instance()
            if self._failovers:
                log_retry(request, instance, self._failovers + 1, self._last_failure)
            if self._hint is not None:
                self._hint.in_flight = True
            failover.contacted[instance.uid] = instance
            if backup is None:
                outcome = yield from send_once(pool, clock, instance, request, deadline)
            else:
                failover.contacted[backup.instance.uid] = backup.instance
                instance, outcome = yield from send_hedged(
                    pool, clock, instance, backup, request, deadline
                )
            if self._hint is not None:
                self._hint.in_flight = False
            delivery = request.answer_policy.classify(outcome)
            if delivery is Delivery.ANSWERED:
                assert isinstance(outcome, Reply)
                if self._is_retry:
                    pool.budget.refund(clock(), settling=request.follow_up)
                return Answer(outcome, instance, self._failovers)
            self._record_failure(instance, outcome, delivery)

    def _next_instance(self) -> Flow[tuple[Instance, Backup | None]]:
        """Flow: wait until there is an instance for the next attempt and budget for it."""
        failover = self._failover
        while True:
            snapshot = failover.store.current
            if snapshot is None or not snapshot.usable:
                snapshot = yield from self._usable_snapshot()
            remaining = self._deadline - failover.clock()
            if remaining <= 0:
                raise self._deadline_error()
            instance = self._pick(snapshot, self._tried)
            if instance is None:
                yield self._pause(snapshot, remaining, end_of_round=True)
            elif self._is_retry and not self._withdraw():
                yield self._pause(snapshot, remaining, end_of_round=False)
            elif failover.hedge and self._request.repeatable and not self._is_retry:
                return instance, self._backup(snapshot, instance)
            else:
                return instance, None

    def _withdraw(self) -> bool:
        failover = self._failover
        return failover.pool.budget.withdraw(failover.clock(), settling=self._request.follow_up)

    def _pick(self, snapshot: Snapshot, tried: Collection[str]) -> Instance | None:
        hint, pool = self._hint, self._failover.pool
        if hint is None:
            return pool.pick(snapshot, tried)
        if not tried and hint.current:
            current = pool.available(snapshot, hint.current)
            if current is not None:
                return current
        return pool.pick_for_session(hint.key, snapshot, tried)

    def _backup(self, snapshot: Snapshot, instance: Instance) -> Backup | None:
        """Return the second instance for a hedged attempt, whose budget is withdrawn, or None."""
        pool = self._failover.pool
        other = self._pick(snapshot, {*self._tried, instance.uid})
        after = pool.read_latency.p95
        if other is None or after is None or not pool.budget.withdraw(self._failover.clock()):
            return None
        return Backup(other, after)

    def _pause(self, snapshot: Snapshot, remaining: float, *, end_of_round: bool) -> Sleep:
        """Return the pause before the next attempt, or before the next round.

        Raises:
            RequestNotSent, NoResponse: ``Retry-After`` of all instances is past the deadline, or
                there is no next round.
        """
        failover = self._failover
        self._pauses = self._pauses or full_jitter(INSTANCE_WAIT, failover.random)
        wait = failover.pool.retry_wait(snapshot)
        if wait >= remaining:
            error = self._deadline_error()
            error.retry_after = wait
            raise error
        if end_of_round:
            one_round = self._request.answer_policy.one_round and self._may_be_received
            if one_round or self._only_not_tls:
                kind = NoResponse if self._may_be_received else RequestNotSent
                last = self._last_failure
                raise kind(f"{self._request.what}: every instance failed. Last attempt: {last}")
            self._tried.clear()
        return Sleep(min(max(next(self._pauses), wait), remaining))

    def _record_failure(self, instance: Instance, outcome: Outcome, delivery: Delivery) -> None:
        """Record a failed attempt.

        Raises:
            OutcomeUnknown: The request may have been applied and is not repeatable.
        """
        not_tls = isinstance(outcome, Failure) and outcome.cause is Cause.NOT_TLS
        self._only_not_tls = not_tls and (self._only_not_tls or not self._failovers)
        self._sent = self._sent or isinstance(outcome, Reply) or outcome.bytes_sent
        if delivery is Delivery.UNKNOWN:
            if not self._request.repeatable:
                hung = isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT
                raise OutcomeUnknown(
                    self._request.what,
                    instance.uid,
                    describe(outcome),
                    hung=hung,
                    answered=_is_server_error(outcome),
                )
            self._may_be_received = True
        # An attempt that the deadline cut short does not show that the application works again, nor
        # why the ones before it failed.
        cut_short = isinstance(outcome, Failure) and self._failover.clock() >= self._deadline
        left = isinstance(outcome, Reply) or outcome.bytes_sent
        before = self._last_failure if cut_short else ""
        if left or not before:
            after = f"; before it, {before}" if before else ""
            self._last_failure = f"{instance.uid}: {describe(outcome)}{after}"
        if not cut_short:
            self._last_is_server_error = _is_server_error(outcome)
        self._tried.add(instance.uid)
        self._failovers += 1
        self._is_retry = True

    def _usable_snapshot(self) -> Flow[Snapshot]:
        failover, deadline = self._failover, self._deadline
        if (wait := self._request.wait) is not None:
            deadline = min(deadline, failover.clock() + wait)
        try:
            return (
                yield from wait_for_usable(
                    failover.store, failover.clock, deadline, failover.wait_for_instances
                )
            )
        except NoInstances as error:
            if not self._may_be_received:
                error.sent = self._sent
                raise
            raise NoResponse(
                f"{self._request.what}: {error}. Last attempt: {self._last_failure}"
            ) from None

    def _deadline_error(self) -> KatoError:
        text = f"{self._request.what}: no instance answered before the deadline"
        if self._last_failure:
            text += f". Last attempt: {self._last_failure}"
        else:
            text += ", which had passed before the first attempt"
        error: KatoError = RequestNotSent(text)
        if self._may_be_received:
            error = NoResponse(text, server_error=self._last_is_server_error)
        error.sent = self._sent  # an instance that refused it has received it
        return error


def _is_server_error(outcome: Outcome) -> bool:
    """Return whether the application itself failed. A 502, 503 or 504 may come from a proxy."""
    return isinstance(outcome, Reply) and outcome.status == 500
