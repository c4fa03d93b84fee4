"""One call to the session API: KATO's errors become ours, and its false 404 is not believed.

While its store is away KATO answers 404 "not found or expired" for sessions that are there
(measured; a full store does it for ``clear-stm``). So a session's 404 is checked with ``exists``,
which needs the store and says the truth: only ``{"exists": false}`` makes a session gone. Anything
else means that nothing was applied and that it is worth waiting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from kato_consul._backoff import INSTANCE_WAIT, full_jitter
from kato_consul._flow import Flow, Reply, Sleep
from kato_consul._kato.session_state import SessionState
from kato_consul._requests.classify import Delivery, classify
from kato_consul._requests.failover import Answer, Failover, Request, RoutingHint, describe
from kato_consul.errors import (
    BadRequest,
    KatoAnswerError,
    NoInstances,
    NoResponse,
    NotFound,
    OutcomeUnknown,
    ServerFailed,
    SessionGone,
    StoreUnavailable,
    ValidationFailed,
    excerpt,
)

_BY_STATUS: dict[int, type[KatoAnswerError]] = {
    400: BadRequest,
    404: NotFound,
    422: ValidationFailed,
}


@dataclass(frozen=True, slots=True)
class KatoApi:
    """The means of asking KATO: failover, and the seconds that one attempt may take."""

    failover: Failover
    attempt_timeout: float

    def now(self) -> float:
        """The clock."""
        return self.failover.clock()

    def pauses(self) -> Iterator[float]:
        """Growing, jittered pauses between attempts."""
        return full_jitter(INSTANCE_WAIT, self.failover.random)

    def place_session(self, state: SessionState) -> None:
        """An operation of the session begins: this is when it may move, or come home."""
        snapshot = self.failover.store.current
        if snapshot is None or state.id is None:
            return
        pool = self.failover.pool
        state.primary, state.current = pool.place_session(
            state.id, state.primary, state.current, snapshot
        )
        state.avoid = ""

    def release_placement(self, state: SessionState) -> None:
        """The session is no more: its place is free."""
        if state.primary:
            self.failover.pool.placement.release(state.primary)
        state.primary = state.current = ""

    def call(
        self, request: Request, deadline: float, place: RoutingHint | None = None
    ) -> Flow[tuple[Any, Answer]]:
        """Flow: one call; KATO's JSON and whose it was.

        Raises:
            KatoAnswerError: KATO answered with an error of its own.
            OutcomeUnknown, RequestNotSent, NoAnswer, NoInstances: see `Failover.call`.
        """
        answer = yield from self.failover.call(request, deadline, place)
        return decode_reply(request, answer.instance.uid, answer.reply), answer

    def call_instance(self, request: Request, uid: str, deadline: float) -> Flow[Any]:
        """Flow: one call on one instance and no other; repeated until the deadline.

        Raises:
            NoInstances: Consul does not list it.
            NoAnswer: it did not answer in time.
        """
        pauses = self.pauses()
        while True:
            outcome = yield from self.failover.attempt(request, uid, deadline)
            if outcome is None:
                raise NoInstances(self.failover.store.service, f"Consul does not list {uid!r}")
            if classify(outcome) is Delivery.ANSWERED:
                assert isinstance(outcome, Reply)
                return decode_reply(request, uid, outcome)
            left = deadline - self.now()
            if left <= 0:
                raise NoResponse(f"{request.what}: {uid} did not answer: {describe(outcome)}")
            yield Sleep(min(next(pauses), left))

    def call_session(
        self,
        request: Request,
        state: SessionState,
        deadline: float,
    ) -> Flow[Any]:
        """Flow: one call on an open session; KATO's JSON.

        Raises:
            SessionGone: KATO has no such session any more.
            StoreAway: its store did not answer, or took no writes, before the deadline.
        """
        assert state.id is not None
        pauses = self.pauses()
        while True:
            place = RoutingHint(state.id, state.current, state.avoid)
            try:
                found, answer = yield from self.call(request, deadline, place)
            except OutcomeUnknown as error:
                # What is asked now goes elsewhere; but one that was cut off may be at it still, and
                # is asked itself, since that waits for KATO's lock.
                state.avoid = error.instance if error.hung else ""
                raise
            except NotFound as error:
                if not is_session_missing(error.detail):
                    raise
                if not (yield from self.session_exists(request.what, state, deadline)):
                    raise SessionGone(state.key, state.id) from None
                left = deadline - self.now()
                if left <= 0:
                    raise StoreUnavailable(request.what, str(error.detail)) from None
                yield Sleep(min(next(pauses), left))
            else:
                state.instance = state.current = answer.instance.uid
                state.failovers += answer.failovers
                return found

    def session_exists(self, what: str, state: SessionState, deadline: float) -> Flow[bool]:
        """Flow: does KATO have the session? This call needs the store, and says the truth.

        Raises:
            StoreAway: the store did not answer before the deadline.
        """
        request = Request(
            "exists",
            "GET",
            f"/sessions/{state.id}/exists",
            repeatable=True,
            timeout=self.attempt_timeout,
            needs=("exists",),
        )
        try:
            place = RoutingHint(str(state.id), state.current, state.avoid)
            found, _ = yield from self.call(request, deadline, place)
        except NoResponse as error:
            raise StoreUnavailable(what, str(error)) from None
        return bool(found["exists"])


def decode_reply(request: Request, uid: str, reply: Reply) -> Any:
    """KATO's JSON, or its error."""
    what = request.what
    good = 200 <= reply.status < 300
    try:
        found = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        found = None
    if found is None or (
        good and not (isinstance(found, dict) and set(request.needs) <= set(found))
    ):
        strange = f"not KATO's words: {excerpt(reply.body.decode('utf-8', 'replace'))}"
        if good and not request.repeatable:  # something in between answered, and did who knows what
            raise OutcomeUnknown(what, uid, strange)
        raise ServerFailed(what, uid, reply.status, strange)
    if good:
        return found
    detail = found.get("detail", found.get("error", found)) if isinstance(found, dict) else found
    kind = _BY_STATUS.get(reply.status, ServerFailed)
    raise kind(what, uid, reply.status, detail)


def is_session_missing(detail: Any) -> bool:
    """Is this 404 about the session? The middleware and the endpoints say it differently."""
    if isinstance(detail, dict):
        return detail.get("code") == "SESSION_NOT_FOUND"
    return isinstance(detail, str) and detail.startswith("Session ") and "not found" in detail
