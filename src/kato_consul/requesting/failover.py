"""One call, on as many instances as it takes.

A round goes down the caller's ranking. Who provably did not get the request is passed over for the
rest of the round; after a round without success there is a pause, and a new round with whatever
instances there are then, until the deadline. What may have been applied is sent again only if the
request is `repeatable`; otherwise `OutcomeUnknown` is raised and the caller settles it.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

from kato_consul.backoff import INSTANCE_WAIT, full_jitter
from kato_consul.balancing.affinity import rank
from kato_consul.balancing.ejection import Ejection
from kato_consul.board import Board
from kato_consul.errors import NoAnswer, NoInstances, OutcomeUnknown, RequestNotSent
from kato_consul.flow import (
    AwaitChange,
    Cause,
    Clock,
    Failure,
    Flow,
    Outcome,
    Random,
    Reply,
    Send,
    Sleep,
)
from kato_consul.model import Health, Instance
from kato_consul.requesting.judging import Verdict, judge

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, of whichever instance: ``what`` names it in errors.

    ``repeatable``: sending it twice is as good as once (a read, or an idempotent write).
    ``timeout``: seconds for one attempt. ``needs``: fields that a good answer must have.
    """

    what: str
    method: str
    target: str
    body: bytes = b""
    repeatable: bool = False
    timeout: float = 10.0
    needs: tuple[str, ...] = ()


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
    clock: Clock
    random: Random
    ejection: Ejection = field(default_factory=Ejection)
    _asked: dict[str, Instance] = field(default_factory=dict)

    def call(self, request: Request, key: str, deadline: float) -> Flow[Answer]:
        """Flow: one call, tried until an instance answers or ``deadline`` (on the clock) is over.

        ``key`` ranks the instances; those that failed lately come last.

        Raises:
            OutcomeUnknown: it may have been applied and is not repeatable.
            RequestNotSent: nobody took it before the deadline; nothing happened.
            NoAnswer: it is repeatable, and nobody answered it before the deadline.
            NoInstances, ConsulError: there was nobody to ask.
        """
        tried: set[str] = set()
        last = ""
        left_once = False
        failovers = 0
        pauses: Iterator[float] | None = None
        while True:
            try:
                candidates = yield from self._candidates(key, deadline)
            except NoInstances as error:
                if not left_once:
                    raise
                raise NoAnswer(f"{request.what}: {error}. Before, {last}") from None
            fresh = [one for one in candidates if one.uid not in tried]
            left = deadline - self.clock()
            if left <= 0:
                text = f"{request.what}: no instance answered before the deadline"
                text += f". Last: {last}" if last else ", which was over before one was asked"
                raise NoAnswer(text) if left_once else RequestNotSent(text)
            if not fresh:
                pauses = pauses or full_jitter(INSTANCE_WAIT, self.random)
                yield Sleep(min(next(pauses), left))
                tried.clear()
                continue
            instance = fresh[0]
            outcome = yield from self._attempt(instance, request, left)
            verdict = judge(outcome)
            if verdict is Verdict.ANSWERED:
                assert isinstance(outcome, Reply)
                return Answer(outcome, instance, failovers)
            last = f"{instance.uid}: {describe(outcome)}"
            if verdict is Verdict.UNKNOWN and not request.repeatable:
                hung = isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT
                raise OutcomeUnknown(request.what, instance.uid, describe(outcome), hung=hung)
            left_once = left_once or verdict is Verdict.UNKNOWN
            tried.add(instance.uid)
            failovers += 1

    def attempt(
        self, request: Request, uid: str, deadline: float, *, listed: bool = True
    ) -> Flow[Outcome | None]:
        """Flow: one attempt on one instance and no other; None when Consul does not list it.

        With ``listed=False`` one that Consul listed once, when it was asked, will do.
        """
        while self.board.current is None and (left := deadline - self.clock()) > 0:
            yield AwaitChange(self.board, None, left)
        snapshot = self.board.current
        instances = snapshot.instances if snapshot is not None else ()
        asked = None if listed else self._asked.get(uid)
        instance = next((one for one in instances if one.uid == uid), asked)
        if instance is None:
            return None
        return (yield from self._attempt(instance, request, deadline - self.clock()))

    def _attempt(self, instance: Instance, request: Request, left: float) -> Flow[Outcome]:
        began = self.clock()
        self._asked[instance.uid] = instance
        outcome: Outcome = yield Send(
            origin=instance.origin,
            method=request.method,
            target=request.target,
            timeout=min(request.timeout, max(left, 0.001)),
            headers=JSON if request.body else {},
            body=request.body,
        )
        if judge(outcome) is Verdict.ANSWERED:
            self.ejection.succeeded(instance.uid)
        elif isinstance(outcome, Failure):
            self.ejection.failed(instance.uid, self.clock(), self.clock() - began)
        return outcome

    def _candidates(self, key: str, deadline: float) -> Flow[list[Instance]]:
        """Usable instances, most preferred first, with a warning or out last; waited for."""
        while True:
            snapshot = self.board.current
            if snapshot is not None and snapshot.usable:
                now = self.clock()
                ranked = rank(key, snapshot.usable)
                return sorted(
                    ranked,
                    key=lambda one: (
                        self.ejection.is_out(one.uid, now),
                        one.health is not Health.PASSING,
                    ),
                )
            left = deadline - self.clock()
            if left <= 0:
                if self.board.trouble is not None:
                    raise copy.copy(self.board.trouble)  # many callers may raise it
                raise NoInstances(self.board.service, _why(self.board))
            yield AwaitChange(self.board, snapshot, left)


def describe(outcome: Outcome) -> str:
    """The outcome in words, for an error."""
    if isinstance(outcome, Reply):
        text = outcome.body.decode("utf-8", "replace").strip()
        return f"{outcome.status} {text[:200]}".strip()
    return str(outcome)


def _why(board: Board) -> str:
    snapshot = board.current
    if snapshot is None:
        return "Consul has not answered yet"
    if not snapshot.instances:
        return "none is registered. 'kato-consul register' puts one in"
    said = "; ".join(f"{one.id} is {one.health}: {one.output}" for one in snapshot.instances)
    return f"none is passing ({said})"
