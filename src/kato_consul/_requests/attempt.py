"""Attempts: one request to one instance, or hedged to two, and what the pool records of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from kato_consul._balancing.pool import Pool
from kato_consul._flow import JSON_HEADERS, Clock, Flow, Hedge, Hedged, Outcome, Reply, Send
from kato_consul._logging import logger
from kato_consul._requests.classify import (
    InstanceSignal,
    describe,
    instance_signal,
    retry_after,
)
from kato_consul._requests.request import Request
from kato_consul._tracing import TRACE_HEADER, current_trace_id
from kato_consul.models import Instance

log = logger("requests")

NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Backup:
    """The second instance of a hedged request, and the seconds after which it is sent there."""

    instance: Instance
    after: float


def send_once(
    pool: Pool, clock: Clock, instance: Instance, request: Request, deadline: float
) -> Flow[Outcome]:
    """Flow: send the request to one instance, once."""
    attempt = _start(pool, clock, instance, request, deadline)
    try:
        outcome: Outcome = yield attempt.send
    except GeneratorExit:  # the caller gave up: this says nothing about the instance
        pool.load.abandoned(instance.uid, attempt.token)
        raise
    _record(pool, clock(), attempt, request, outcome)
    return outcome


def send_hedged(
    pool: Pool,
    clock: Clock,
    instance: Instance,
    backup: Backup,
    request: Request,
    deadline: float,
) -> Flow[tuple[Instance, Outcome]]:
    """Flow: send the request to one instance and, if it is slow, also to a second one.

    Returns the instance whose outcome counts, and that outcome. The caller has withdrawn the
    second attempt from the retry budget; it is refunded if it was not sent or was answered.
    """
    first = _start(pool, clock, instance, request, deadline)
    second = _start(pool, clock, backup.instance, request, deadline)
    try:
        hedged: Hedged = yield Hedge(first.send, second.send, backup.after)
    except GeneratorExit:
        for attempt in (first, second):
            pool.load.abandoned(attempt.instance.uid, attempt.token)
        raise
    for attempt, outcome in ((first, hedged.first), (second, hedged.second)):
        if outcome is None:
            pool.load.abandoned(attempt.instance.uid, attempt.token)
        else:
            _record(pool, clock(), attempt, request, outcome)
    if not hedged.both_sent or isinstance(hedged.second, Reply):
        pool.budget.refund(clock())
    if isinstance(hedged.second, Reply) and not isinstance(hedged.first, Reply):
        return backup.instance, hedged.second
    assert hedged.first is not None
    return instance, hedged.first


def log_retry(request: Request, instance: Instance, attempt: int, why: str) -> None:
    """Log that a request is sent again, for the ``attempt``-th time; ``why`` is how the attempt
    before ended."""
    log.info(
        "request.retried",
        service=instance.service,
        request=request.what,
        id=instance.uid,
        attempt=attempt,
        why=why,
    )


class _Attempt(msgspec.Struct, frozen=True):
    instance: Instance
    send: Send
    started_at: float
    token: object


def _start(
    pool: Pool, clock: Clock, instance: Instance, request: Request, deadline: float
) -> _Attempt:
    uid = instance.uid
    now = clock()
    timeout = min(request.timeout, max(deadline - now, 0.001))
    pool.outliers.attempt_started(uid, now, timeout)
    headers = JSON_HEADERS if request.body else NO_HEADERS
    if request.headers:
        headers = {**headers, **request.headers}
    if trace_id := current_trace_id():
        headers = {**headers, TRACE_HEADER: trace_id}
    send = Send(
        origin=instance.origin,
        method=request.method,
        target=request.target,
        timeout=timeout,
        headers=headers,
        body=request.body,
    )
    return _Attempt(instance, send, now, pool.load.started(uid))


def _record(pool: Pool, now: float, attempt: _Attempt, request: Request, outcome: Outcome) -> None:
    """Record in the pool what the outcome reveals about the instance."""
    uid = attempt.instance.uid
    took = now - attempt.started_at
    signal = instance_signal(outcome)
    healthy = signal is InstanceSignal.HEALTHY
    pool.load.finished(uid, attempt.token, now, took, succeeded=healthy)
    if healthy:
        if pool.outliers.record_success(uid):
            log.info("instance.recovered", service=attempt.instance.service, id=uid)
        if request.repeatable:
            pool.read_latency.add(took)
    elif signal is not InstanceSignal.BUSY:
        down = signal is InstanceSignal.DOWN
        if seconds := pool.outliers.record_failure(uid, now, took, eject_now=down):
            log.warning(
                "instance.ejected",
                service=attempt.instance.service,
                id=uid,
                seconds=seconds,
                why=describe(outcome),
            )
    if seconds := retry_after(outcome):
        pool.retry_after.record(uid, now + seconds)
