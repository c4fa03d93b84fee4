"""One call, on as many instances as it takes.

A round asks one instance after the other (`Pool` says which). Who did not serve the request is
passed over for the rest of the round; after a round without success there is a pause, and a new
round with whatever instances there are then, until the deadline. What may have been applied is sent
again only if the request is `repeatable`; otherwise `OutcomeUnknown` is raised and the caller
settles it. Attempts after the first come out of the retry budget: when it is empty they wait.

With ``hedge`` what is repeatable is asked of a second instance too, as soon as the first has taken
longer than 95 of 100 did of late; that attempt comes out of the budget as well.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

from kato_consul._backoff import INSTANCE_WAIT, full_jitter
from kato_consul._balancing.pool import Pool
from kato_consul._flow import (
    Cause,
    Clock,
    Failure,
    Flow,
    Hedge,
    Hedged,
    Outcome,
    Random,
    Reply,
    Send,
    Sleep,
    WaitForChange,
)
from kato_consul._observable import SnapshotStore
from kato_consul._requests.classify import (
    Delivery,
    InstanceSignal,
    classify,
    instance_signal,
    retry_after,
)
from kato_consul.errors import KatoError, NoInstances, NoResponse, OutcomeUnknown, RequestNotSent
from kato_consul.models import Instance, Snapshot

JSON = {"content-type": "application/json"}
NO_HEADERS: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, of whichever instance: ``what`` names it in errors.

    ``repeatable``: sending it twice is as good as once (a read, or an idempotent write).
    ``timeout``: seconds for one attempt. ``needs``: fields that a good answer must have.
    ``follow_up``: it is made only because an earlier one failed, and counts as another attempt.
    ``plain``: it is for a service of which nothing else is known, so that a 500 is its answer, and
    a 502, 503 or 504 of every instance is, too.
    """

    what: str
    method: str
    target: str
    body: bytes = b""
    repeatable: bool = False
    timeout: float = 10.0
    needs: tuple[str, ...] = ()
    follow_up: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class RoutingHint:
    """Where a session's request goes. ``key`` ranks the instances, ``at`` is asked first, and
    ``shunned`` (a uid or "") after all others."""

    key: str
    current: str = ""
    avoid: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An application's answer, whose it was, and how many attempts went before it."""

    reply: Reply
    instance: Instance
    failovers: int = 0


@dataclass(slots=True)
class Failover:
    """The means of a call: where instances are seen, what is known of them, time and chance."""

    store: SnapshotStore
    pool: Pool
    clock: Clock
    random: Random
    hedge: bool = False
    _contacted: dict[str, Instance] = field(default_factory=dict)

    def call(
        self, request: Request, deadline: float, place: RoutingHint | None = None
    ) -> Flow[Answer]:
        """Flow: one call, tried until an instance answers or ``deadline`` (on the clock) is over.

        Without a ``place`` the pool's policy says who is asked.

        Raises:
            OutcomeUnknown: it may have been applied and is not repeatable.
            RequestNotSent: nobody took it before the deadline; nothing happened.
            NoAnswer: it is repeatable, and nobody answered it before the deadline.
            NoInstances, ConsulError: there was nobody to ask.
        """
        tried = {place.avoid} if place is not None and place.avoid else set()
        last = ""
        left_once = False
        failovers = 0
        again = request.follow_up
        if not again:
            self.pool.budget.deposit(self.clock())
        pauses: Iterator[float] | None = None
        while True:
            snapshot = self.store.current
            if snapshot is None or not snapshot.usable:
                try:
                    snapshot = yield from self._usable(deadline)
                except NoInstances as error:
                    if not left_once:
                        raise
                    raise NoResponse(f"{request.what}: {error}. Before, {last}") from None
            left = deadline - self.clock()
            if left <= 0:
                raise _too_late(request, last, left_once=left_once)
            instance = self._next(snapshot, place, tried)
            if instance is None or (again and not self.pool.budget.withdraw(self.clock())):
                pauses = pauses or full_jitter(INSTANCE_WAIT, self.random)
                rest = self.pool.retry_wait(snapshot)
                if rest >= left:  # they asked for more time than there is
                    too_late = _too_late(request, last, left_once=left_once)
                    too_late.retry_after = rest
                    raise too_late
                if instance is None:
                    if request.plain and left_once:
                        raise NoResponse(f"{request.what}: no instance served it. Last: {last}")
                    tried.clear()
                yield Sleep(min(max(next(pauses), rest), left))
                continue
            if self.hedge and request.repeatable and not again:
                other = self._next(snapshot, place, {*tried, instance.uid})
                instance, outcome = yield from self._hedged(instance, other, request, left)
            else:
                outcome = yield from self._attempt(instance, request, left)
            verdict = classify(outcome)
            if (
                request.plain
                and isinstance(outcome, Reply)
                and instance_signal(outcome) is not InstanceSignal.DEGRADED
            ):
                verdict = verdict if verdict is Delivery.NOT_SENT else Delivery.ANSWERED
            if verdict is Delivery.ANSWERED:
                assert isinstance(outcome, Reply)
                if again:
                    self.pool.budget.refund(self.clock())
                return Answer(outcome, instance, failovers)
            last = f"{instance.uid}: {describe(outcome)}"
            if verdict is Delivery.UNKNOWN and not request.repeatable:
                hung = isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT
                raise OutcomeUnknown(request.what, instance.uid, describe(outcome), hung=hung)
            left_once = left_once or verdict is Delivery.UNKNOWN
            tried.add(instance.uid)
            failovers += 1
            again = True

    def attempt(
        self, request: Request, uid: str, deadline: float, *, listed: bool = True
    ) -> Flow[Outcome | None]:
        """Flow: one attempt on one instance and no other; None when Consul does not list it.

        With ``listed=False`` one that Consul listed once, when it was asked, will do.
        """
        while self.store.current is None and (left := deadline - self.clock()) > 0:
            yield WaitForChange(self.store, None, left)
        snapshot = self.store.current
        instance = snapshot.by_uid.get(uid) if snapshot is not None else None
        if instance is None and not listed:
            instance = self._contacted.get(uid)
        if instance is None:
            return None
        return (yield from self._attempt(instance, request, deadline - self.clock()))

    def _next(
        self, snapshot: Snapshot, place: RoutingHint | None, tried: set[str]
    ) -> Instance | None:
        if place is None:
            return self.pool.pick(snapshot, tried)
        if (
            not tried
            and place.current
            and (one := self.pool.available(snapshot, place.current)) is not None
        ):
            return one
        return self.pool.pick_for_session(place.key, snapshot, tried)

    def _attempt(self, instance: Instance, request: Request, left: float) -> Flow[Outcome]:
        attempt = self._begin(instance, request, left)
        try:
            outcome: Outcome = yield attempt.send
        except GeneratorExit:  # whoever called gave up: that tells nothing of the instance
            self.pool.load.abandoned(instance.uid, attempt.token)
            raise
        self._learn(attempt, request, outcome)
        return outcome

    def _hedged(
        self, instance: Instance, other: Instance | None, request: Request, left: float
    ) -> Flow[tuple[Instance, Outcome]]:
        """One attempt, and another beside it when it takes longer than nearly all of late did."""
        after = self.pool.read_latency.p95
        if other is None or after is None or not self.pool.budget.withdraw(self.clock()):
            return instance, (yield from self._attempt(instance, request, left))
        first, second = (self._begin(one, request, left) for one in (instance, other))
        try:
            found: Hedged = yield Hedge(first.send, second.send, after)
        except GeneratorExit:
            for one in (first, second):
                self.pool.load.abandoned(one.instance.uid, one.token)
            raise
        for one, outcome in ((first, found.first), (second, found.second)):
            if outcome is None:
                self.pool.load.abandoned(one.instance.uid, one.token)
            else:
                self._learn(one, request, outcome)
        if not found.both_sent or isinstance(found.second, Reply):  # not made, or worth it
            self.pool.budget.refund(self.clock())
        if isinstance(found.second, Reply) and not isinstance(found.first, Reply):
            return other, found.second
        assert found.first is not None
        return instance, found.first

    def _begin(self, instance: Instance, request: Request, left: float) -> "_Attempt":
        uid = instance.uid
        timeout = min(request.timeout, max(left, 0.001))
        self._contacted[uid] = instance
        now = self.clock()
        self.pool.outliers.attempt_started(uid, now, timeout)
        send = Send(
            origin=instance.origin,
            method=request.method,
            target=request.target,
            timeout=timeout,
            headers=JSON if request.body else NO_HEADERS,
            body=request.body,
        )
        return _Attempt(instance, send, now, self.pool.load.started(uid))

    def _learn(self, attempt: "_Attempt", request: Request, outcome: Outcome) -> None:
        """What an outcome tells of the instance."""
        uid, pool = attempt.instance.uid, self.pool
        now = self.clock()
        took = now - attempt.began
        said = instance_signal(outcome)
        pool.load.finished(uid, attempt.token, now, took, good=said is InstanceSignal.HEALTHY)
        if said is InstanceSignal.HEALTHY:
            pool.outliers.record_success(uid)
            if request.repeatable:
                pool.read_latency.add(took)
        elif said is not InstanceSignal.BUSY:
            pool.outliers.record_failure(uid, now, took, at_once=said is InstanceSignal.DOWN)
        if wanted := retry_after(outcome):
            pool.retry_after.record(uid, now + wanted)

    def _usable(self, deadline: float) -> Flow[Snapshot]:
        """A snapshot with somebody to ask, waited for."""
        while True:
            snapshot = self.store.current
            if snapshot is not None and snapshot.usable:
                return snapshot
            left = deadline - self.clock()
            if left <= 0:
                if self.store.last_error is not None:
                    raise copy.copy(self.store.last_error)  # many callers may raise it
                why = _why(self.store, self.clock())
                raise NoInstances(self.store.service, why, asked=self.store.query_description)
            yield WaitForChange(self.store, snapshot, left)


@dataclass(frozen=True, slots=True)
class _Attempt:
    instance: Instance
    send: Send
    began: float
    token: object


def describe(outcome: Outcome) -> str:
    """The outcome in words, for an error."""
    if isinstance(outcome, Reply):
        text = outcome.body.decode("utf-8", "replace").strip()
        return f"{outcome.status} {text[:200]}".strip()
    return str(outcome)


def _too_late(request: Request, last: str, *, left_once: bool) -> KatoError:
    text = f"{request.what}: no instance answered before the deadline"
    text += f". Last: {last}" if last else ", which was over before one was asked"
    return NoResponse(text) if left_once else RequestNotSent(text)


def _why(store: SnapshotStore, now: float) -> str:
    snapshot = store.current
    if snapshot is None:
        return "Consul has not answered yet"
    since = f", for {now - store.empty_since:.0f} s" if store.empty_since is not None else ""
    if not snapshot.instances:
        return f"none is registered{since}. 'kato-consul register' puts one in"
    said = "; ".join(f"{one.id} is {one.health}: {one.output}" for one in snapshot.instances)
    return f"none is passing{since} ({said})"
