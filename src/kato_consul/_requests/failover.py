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
    AwaitChange,
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
)
from kato_consul._observable import Board
from kato_consul._requests.classify import Sign, Verdict, judge, retry_after, sign
from kato_consul.errors import KatoError, NoAnswer, NoInstances, OutcomeUnknown, RequestNotSent
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
class Place:
    """Where a session's request goes. ``key`` ranks the instances, ``at`` is asked first, and
    ``shunned`` (a uid or "") after all others."""

    key: str
    at: str = ""
    shunned: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An application's answer, whose it was, and how many attempts went before it."""

    reply: Reply
    instance: Instance
    failovers: int = 0


@dataclass(slots=True)
class Failover:
    """The means of a call: where instances are seen, what is known of them, time and chance."""

    board: Board
    pool: Pool
    clock: Clock
    random: Random
    hedge: bool = False
    _asked: dict[str, Instance] = field(default_factory=dict)

    def call(self, request: Request, deadline: float, place: Place | None = None) -> Flow[Answer]:
        """Flow: one call, tried until an instance answers or ``deadline`` (on the clock) is over.

        Without a ``place`` the pool's policy says who is asked.

        Raises:
            OutcomeUnknown: it may have been applied and is not repeatable.
            RequestNotSent: nobody took it before the deadline; nothing happened.
            NoAnswer: it is repeatable, and nobody answered it before the deadline.
            NoInstances, ConsulError: there was nobody to ask.
        """
        tried = {place.shunned} if place is not None and place.shunned else set()
        last = ""
        left_once = False
        failovers = 0
        again = request.follow_up
        if not again:
            self.pool.budget.deposit(self.clock())
        pauses: Iterator[float] | None = None
        while True:
            snapshot = self.board.current
            if snapshot is None or not snapshot.usable:
                try:
                    snapshot = yield from self._usable(deadline)
                except NoInstances as error:
                    if not left_once:
                        raise
                    raise NoAnswer(f"{request.what}: {error}. Before, {last}") from None
            left = deadline - self.clock()
            if left <= 0:
                raise _too_late(request, last, left_once=left_once)
            instance = self._next(snapshot, place, tried)
            if instance is None or (again and not self.pool.budget.withdraw(self.clock())):
                pauses = pauses or full_jitter(INSTANCE_WAIT, self.random)
                rest = self.pool.rest(snapshot)
                if rest >= left:  # they asked for more time than there is
                    too_late = _too_late(request, last, left_once=left_once)
                    too_late.retry_after = rest
                    raise too_late
                if instance is None:
                    if request.plain and left_once:
                        raise NoAnswer(f"{request.what}: no instance served it. Last: {last}")
                    tried.clear()
                yield Sleep(min(max(next(pauses), rest), left))
                continue
            if self.hedge and request.repeatable and not again:
                other = self._next(snapshot, place, {*tried, instance.uid})
                instance, outcome = yield from self._hedged(instance, other, request, left)
            else:
                outcome = yield from self._attempt(instance, request, left)
            verdict = judge(outcome)
            if request.plain and isinstance(outcome, Reply) and sign(outcome) is not Sign.AILING:
                verdict = verdict if verdict is Verdict.NOT_SENT else Verdict.ANSWERED
            if verdict is Verdict.ANSWERED:
                assert isinstance(outcome, Reply)
                if again:
                    self.pool.budget.refund(self.clock())
                return Answer(outcome, instance, failovers)
            last = f"{instance.uid}: {describe(outcome)}"
            if verdict is Verdict.UNKNOWN and not request.repeatable:
                hung = isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT
                raise OutcomeUnknown(request.what, instance.uid, describe(outcome), hung=hung)
            left_once = left_once or verdict is Verdict.UNKNOWN
            tried.add(instance.uid)
            failovers += 1
            again = True

    def attempt(
        self, request: Request, uid: str, deadline: float, *, listed: bool = True
    ) -> Flow[Outcome | None]:
        """Flow: one attempt on one instance and no other; None when Consul does not list it.

        With ``listed=False`` one that Consul listed once, when it was asked, will do.
        """
        while self.board.current is None and (left := deadline - self.clock()) > 0:
            yield AwaitChange(self.board, None, left)
        snapshot = self.board.current
        instance = snapshot.by_uid.get(uid) if snapshot is not None else None
        if instance is None and not listed:
            instance = self._asked.get(uid)
        if instance is None:
            return None
        return (yield from self._attempt(instance, request, deadline - self.clock()))

    def _next(self, snapshot: Snapshot, place: Place | None, tried: set[str]) -> Instance | None:
        if place is None:
            return self.pool.pick(snapshot, tried)
        if not tried and place.at and (one := self.pool.well(snapshot, place.at)) is not None:
            return one
        return self.pool.choice(place.key, snapshot, tried)

    def _attempt(self, instance: Instance, request: Request, left: float) -> Flow[Outcome]:
        attempt = self._begin(instance, request, left)
        try:
            outcome: Outcome = yield attempt.send
        except GeneratorExit:  # whoever called gave up: that tells nothing of the instance
            self.pool.loads.dropped(instance.uid, attempt.token)
            raise
        self._learn(attempt, request, outcome)
        return outcome

    def _hedged(
        self, instance: Instance, other: Instance | None, request: Request, left: float
    ) -> Flow[tuple[Instance, Outcome]]:
        """One attempt, and another beside it when it takes longer than nearly all of late did."""
        after = self.pool.reads.p95
        if other is None or after is None or not self.pool.budget.withdraw(self.clock()):
            return instance, (yield from self._attempt(instance, request, left))
        first, second = (self._begin(one, request, left) for one in (instance, other))
        try:
            found: Hedged = yield Hedge(first.send, second.send, after)
        except GeneratorExit:
            for one in (first, second):
                self.pool.loads.dropped(one.instance.uid, one.token)
            raise
        for one, outcome in ((first, found.first), (second, found.second)):
            if outcome is None:
                self.pool.loads.dropped(one.instance.uid, one.token)
            else:
                self._learn(one, request, outcome)
        if not found.both or isinstance(found.second, Reply):  # not made, or worth it
            self.pool.budget.refund(self.clock())
        if isinstance(found.second, Reply) and not isinstance(found.first, Reply):
            return other, found.second
        assert found.first is not None
        return instance, found.first

    def _begin(self, instance: Instance, request: Request, left: float) -> "_Attempt":
        uid = instance.uid
        timeout = min(request.timeout, max(left, 0.001))
        self._asked[uid] = instance
        now = self.clock()
        self.pool.ejection.trying(uid, now, timeout)
        send = Send(
            origin=instance.origin,
            method=request.method,
            target=request.target,
            timeout=timeout,
            headers=JSON if request.body else NO_HEADERS,
            body=request.body,
        )
        return _Attempt(instance, send, now, self.pool.loads.began(uid))

    def _learn(self, attempt: "_Attempt", request: Request, outcome: Outcome) -> None:
        """What an outcome tells of the instance."""
        uid, pool = attempt.instance.uid, self.pool
        now = self.clock()
        took = now - attempt.began
        said = sign(outcome)
        pool.loads.ended(uid, attempt.token, now, took, good=said is Sign.WELL)
        if said is Sign.WELL:
            pool.ejection.succeeded(uid)
            if request.repeatable:
                pool.reads.add(took)
        elif said is not Sign.BUSY:
            pool.ejection.failed(uid, now, took, at_once=said is Sign.DOWN)
        if wanted := retry_after(outcome):
            pool.resting.asked(uid, now + wanted)

    def _usable(self, deadline: float) -> Flow[Snapshot]:
        """A snapshot with somebody to ask, waited for."""
        while True:
            snapshot = self.board.current
            if snapshot is not None and snapshot.usable:
                return snapshot
            left = deadline - self.clock()
            if left <= 0:
                if self.board.trouble is not None:
                    raise copy.copy(self.board.trouble)  # many callers may raise it
                why = _why(self.board, self.clock())
                raise NoInstances(self.board.service, why, asked=self.board.asked)
            yield AwaitChange(self.board, snapshot, left)


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
    return NoAnswer(text) if left_once else RequestNotSent(text)


def _why(board: Board, now: float) -> str:
    snapshot = board.current
    if snapshot is None:
        return "Consul has not answered yet"
    since = f", for {now - board.empty_since:.0f} s" if board.empty_since is not None else ""
    if not snapshot.instances:
        return f"none is registered{since}. 'kato-consul register' puts one in"
    said = "; ".join(f"{one.id} is {one.health}: {one.output}" for one in snapshot.instances)
    return f"none is passing{since} ({said})"
