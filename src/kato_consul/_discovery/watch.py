"""Watching one service: blocking queries in, snapshots out.

The law, as HashiCorp documents it (https://developer.hashicorp.com/consul/api-docs/features/blocking):

* the index is 0 at first; after that it is at least 1, or the query would not block;
* an index that went down, or an error, sets it back to 0;
* an answer need not mean a change, and a wake-up without one changes nothing, and is not even read;
* the server adds up to wait/16 to a wait, so the timeout allows for that and for the way there;
* good answers are rate-limited by a token bucket, errors answered by backing off with full jitter;
  the bucket is not asked after an error, so that it never delays a recovery;
* 429 is an agent's limit: another agent is asked at once; 5xx is waited for;
* an answer of somebody who knows no leader may be old: it counts only while there is nothing else;
* an empty answer may be a lie (a restarting server, a cold cache): it is believed after a second,
  consistent, uncached read, made after a short hold.

A prepared query cannot block. It is executed now and then, by the same law.
"""

from collections.abc import Callable, Iterator

from kato_consul._backoff import CONSUL_WAIT, MISTAKE_WAIT, full_jitter
from kato_consul._consul.agents import Agents, another_agent_may_serve
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import BURST, RATE, SLACK, TokenBucket, next_index
from kato_consul._consul.call import CONSUL_TIMEOUT, execute
from kato_consul._consul.health_query import HealthQuery, HealthResponse
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._logging import logger
from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConsulDenied, ConsulError, ConsulRejected, ConsulUnavailable

log = logger("watch")

WAIT = 60.0
"""Seconds a blocking query may block: as consul-template has it. Consul's own default of 300 asks
less often, but a connection that was cut without a word is found out only after that long."""

HOLD = 1.0
"""Seconds between an empty answer and the read that confirms it. An agent that restarted has its
services back from disk, or from its registrar, well within this."""

FIRST_ANSWER_WITHIN = 1.0
"""Seconds the first answer may take where there is something else to go by until it comes."""


def watch(
    agents: Agents,
    query: HealthQuery,
    store: SnapshotStore,
    *,
    clock: Clock,
    random: Random,
    wait: float = WAIT,
    every: float = 10.0,
    first_within: float = CONSUL_TIMEOUT,
    go_on: Callable[[], bool] = lambda: True,
) -> Flow[None]:
    """Flow: keep ``board`` as Consul sees the service, while ``go_on``.

    ``every`` are the seconds between executions of a prepared query; ``first_within`` those that
    the first answer may take.
    """
    bucket = TokenBucket(RATE, BURST)
    pauses = _pauses(random)
    index, last = 0, None
    failures = 0
    while go_on():
        api = agents.current
        try:
            call = api.query_health(query, index=index, wait=wait if index else None, last=last)
            if index:
                call = call.with_timeout(wait + wait / 16 + SLACK)
            elif last is None and not failures:
                call = call.with_timeout(first_within)
            response = yield from execute(call)
            if not response.snapshot.instances and _had_some(store):
                yield Sleep(HOLD)
                response = yield from execute(api.query_health(query.consistent()))
            _check_leader(api, response, store)
        except ConsulError as error:
            _report(store, error)
            agents.record_failure(api)
            index = 0
            failures += 1
            if not (another_agent_may_serve(error) and failures % len(agents)):
                yield Sleep(pauses(error) + (error.retry_after or 0.0))
            continue
        if store.last_error is not None:
            log.info("consul.recovered", service=store.service)
        store.publish(response.snapshot, clock() - response.staleness)
        index, last, failures = next_index(index, response.index), response, 0
        pauses = _pauses(random)
        if query.query:
            index = 0
            yield Sleep(every * (0.75 + 0.5 * random()))
        elif pause := bucket.take(clock()):
            yield Sleep(pause)


def _report(store: SnapshotStore, error: ConsulError) -> None:
    """Show the trouble; once in a row also in the log, with what is gone by meanwhile."""
    first = store.last_error is None
    store.record_error(error)
    if first:
        by = store.current.source.value if store.current is not None else None
        log.warning("consul.error", service=store.service, why=str(error), going_by=by)


def _had_some(store: SnapshotStore) -> bool:
    return store.current is None or bool(store.current.instances)


def _check_leader(api: ConsulApi, response: HealthResponse, store: SnapshotStore) -> None:
    """Raises ConsulUnavailable when who answered knows no leader."""
    if not response.leaderless:
        return
    if store.current is None and response.snapshot.instances:
        store.publish(response.snapshot)
    raise ConsulUnavailable(
        api.address, 200, "who answered knows no leader, and may be behind", None
    )


def _pauses(random: Random) -> Callable[[ConsulError], float]:
    """How long to wait after an error: briefly for Consul to come back, longer for a mistake, such
    as a wrong token, which somebody has to mend."""
    away: Iterator[float] = full_jitter(CONSUL_WAIT, random)
    mistaken: Iterator[float] = full_jitter(MISTAKE_WAIT, random)

    def pause(error: ConsulError) -> float:
        return next(mistaken if isinstance(error, ConsulDenied | ConsulRejected) else away)

    return pause
