"""KATO API: sends one request, and verifies KATO's 404s.

While its store is down KATO answers 404 "not found or expired" for sessions that exist (measured; a
full store does so for ``clear-stm``). So a session's 404 is verified with ``exists``, which needs
the store: only ``{"exists": false}`` means that the session is gone. Any other response means that
nothing was applied, and that a retry may succeed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kato_consul._backoff import INSTANCE_WAIT, full_jitter
from kato_consul._flow import Flow, Reply, Sleep
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.decoding import decode_reply, is_session_missing
from kato_consul._kato.ownership import Owner
from kato_consul._kato.session_state import SessionState
from kato_consul._logging import logger
from kato_consul._requests.classify import Delivery, classify, describe
from kato_consul._requests.failover import Failover
from kato_consul._requests.request import Answer, Request, RoutingHint
from kato_consul.errors import (
    NoInstances,
    NoResponse,
    NotFound,
    OutcomeUnknown,
    RequestNotSent,
    SessionGone,
    StoreUnavailable,
)

log = logger("session")


@dataclass(frozen=True, slots=True)
class KatoApi:
    """Sends requests to KATO. ``attempt_timeout`` is in seconds, for one attempt, ``call_timeout``
    for each further part of a call that has several. ``owner`` owns the sessions, if they are
    shared with other processes.

    A ``deadline`` is a time on the clock of `now`, in seconds.
    """

    failover: Failover
    attempt_timeout: float
    call_timeout: float = 30.0
    owner: Owner | None = None

    def now(self) -> float:
        """Return the time on the client's monotonic clock, in seconds."""
        return self.failover.clock()

    def retry_delays(self) -> Iterator[float]:
        """Yield growing, jittered delays between attempts, in seconds."""
        return full_jitter(INSTANCE_WAIT, self.failover.random)

    def place_session(self, state: SessionState) -> None:
        """Choose the session's instance. Called at the start of an operation.

        Only then may the session move to another instance, or back to its primary.
        """
        snapshot = self.failover.store.current
        if snapshot is None or state.id is None:
            return
        previous = state.current
        state.primary, state.current = self.failover.pool.place_session(
            state.id, state.primary, previous, snapshot
        )
        state.avoid = ""
        if state.current != previous:
            _log_move(state, previous)

    def release_placement(self, state: SessionState) -> None:
        """Release the session's placement: the session has ended."""
        if state.primary:
            self.failover.pool.placement.release(state.primary)
        state.primary = state.current = ""

    def call(
        self, request: Request, deadline: float, hint: RoutingHint | None = None
    ) -> Flow[tuple[Any, Answer]]:
        """Flow: send a request; return KATO's decoded JSON and the answer it was in.

        Without a ``hint`` the pool's policy picks the instance.

        Raises:
            KatoAnswerError: KATO returned an error.
            OutcomeUnknown, RequestNotSent, NoResponse, NoInstances: see `Failover.call`.
        """
        answer = yield from self.failover.call(request, deadline, hint)
        return decode_reply(request, answer.instance.uid, answer.reply), answer

    def _not_listed(self, uid: str) -> NoInstances:
        store = self.failover.store
        listed = sorted(one.uid for one in store.current.instances) if store.current else []
        others = f"; it lists {', '.join(map(repr, listed))}" if listed else ""
        return NoInstances(store.service, f"Consul does not list {uid!r}{others}")

    def call_instance(self, request: Request, uid: str, deadline: float) -> Flow[Any]:
        """Flow: send a request to one instance only, and retry until the deadline.

        Raises:
            NoInstances: Consul does not list the instance.
            NoResponse: it did not respond before the deadline.
            KatoAnswerError: KATO returned an error.
        """
        delays = self.retry_delays()
        while True:
            outcome = yield from self.failover.attempt(request, uid, deadline)
            if outcome is None:
                raise self._not_listed(uid)
            if classify(outcome) is Delivery.ANSWERED:
                assert isinstance(outcome, Reply)
                return decode_reply(request, uid, outcome)
            remaining = deadline - self.now()
            if remaining <= 0:
                raise NoResponse(f"{request.what}: {uid} did not respond: {describe(outcome)}")
            yield Sleep(min(next(delays), remaining))

    def call_session(
        self,
        request: Request,
        state: SessionState,
        deadline: float,
    ) -> Flow[Any]:
        """Flow: send a request of an open session; return KATO's decoded JSON.

        Raises:
            SessionGone: KATO no longer has the session.
            StoreUnavailable: KATO's store was down or refused writes until the deadline.
            KatoAnswerError: KATO returned an error.
            OutcomeUnknown, RequestNotSent, NoResponse, NoInstances: see `Failover.call`. Also
                OutcomeUnknown: KATO's 404 to a request that is ``once_only``.
        """
        assert state.id is not None
        delays = self.retry_delays()
        refusal: object = None
        while True:
            hint = RoutingHint(state.id, state.current, state.avoid)
            try:
                response, answer = yield from self.call(request, deadline, hint)
            except RequestNotSent as error:
                if refusal is None:
                    raise
                raise StoreUnavailable(request.what, str(refusal)) from error
            except GeneratorExit:
                state.request_in_flight = hint.in_flight
                raise
            except OutcomeUnknown as error:
                # An instance that hung is avoided from here on. One that cut the connection is not:
                # if it still processes the request, the next request to it waits until that ends.
                state.avoid = error.instance if error.hung else ""
                raise
            except NotFound as error:
                if request.once_only:
                    raise OutcomeUnknown(
                        request.what, error.instance, f"404 {error.detail}", answered=True
                    ) from None
                if not is_session_missing(error.detail):
                    raise
                try:
                    exists = yield from self.session_exists(request.what, state, deadline)
                except NoResponse as silent:  # it has answered: with this 404
                    raise StoreUnavailable(request.what, str(silent)) from None
                if not exists:
                    raise SessionGone(state.key, state.id) from None
                refusal = error.detail
                remaining = deadline - self.now()
                if remaining <= 0:
                    raise StoreUnavailable(request.what, str(refusal)) from None
                yield Sleep(min(next(delays), remaining))
            else:
                previous = state.current
                state.instance = state.current = answer.instance.uid
                if state.current != previous:
                    _log_move(state, previous)
                state.failovers += answer.failovers
                return response

    def session_exists(self, what: str, state: SessionState, deadline: float) -> Flow[bool]:
        """Flow: return whether KATO has the session. ``exists`` needs the store, so it is reliable.

        ``what`` names the call for which it is checked, in the error.

        Raises:
            StoreUnavailable: the store did not respond before the deadline.
            NoResponse: no instance answered before the deadline.
        """
        request = Request(
            "asking whether the session exists",
            "GET",
            f"/sessions/{state.id}/exists",
            repeatable=True,
            timeout=self.attempt_timeout,
            shape=shapes.Exists,
        )
        try:
            hint = RoutingHint(str(state.id), state.current, state.avoid)
            response, _ = yield from self.call(request, deadline, hint)
        except NoResponse as error:
            if not error.server_error:
                raise
            raise StoreUnavailable(what, str(error)) from None
        exists: bool = response["exists"]
        return exists


def _log_move(state: SessionState, previous: str) -> None:
    """Log that a session is on another instance. Its first placement is none."""
    if previous and state.current:
        log.info(
            "session.moved",
            key=state.key,
            id=state.id,
            previous=previous,
            instance=state.current,
        )
