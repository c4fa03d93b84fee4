"""Watch: blocking queries for one service, which publish snapshots.

It follows HashiCorp's rules (https://developer.hashicorp.com/consul/api-docs/features/blocking) and
some more:

* the index is 0 at first; after that it is at least 1, because a query with 0 does not block;
* an index that went down, an error, or another token resets it to 0;
* a response need not contain a change; one without a change is not decoded;
* the server adds up to wait/16 to a wait, so the timeout allows for that and for the network;
* queries after a response are rate-limited by a token bucket; errors are followed by a backoff with
  full jitter, without the bucket, so that the bucket never delays a recovery;
* 429 is the limit of one agent, so another agent is used at once; after a 5xx the watch waits;
* a response of a server without a leader may be out of date: it is used only if there is no other;
* an empty response may be wrong (a server that restarts, a cold cache): it is used only if a
  consistent, uncached read one second later returns it, too;
* a process has few blocking queries at an agent (`agent_load`); further watches read at intervals.

A prepared query cannot block. It is executed at intervals, by the same rules.
"""

from collections.abc import Callable, Iterator

from kato_consul._backoff import CONSUL_WAIT, MISTAKE_WAIT, full_jitter
from kato_consul._consul.agent_load import AgentLoad, agent_load
from kato_consul._consul.agents import Agents, another_agent_may_serve
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import TokenBucket, next_index, query_timeout
from kato_consul._consul.call import CONSUL_TIMEOUT, call_consul, no_token
from kato_consul._consul.health_query import HealthQuery, HealthResponse
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._logging import logger
from kato_consul._observable import SnapshotStore
from kato_consul.errors import ConsulDenied, ConsulError, ConsulRejected, ConsulUnavailable
from kato_consul.models import Snapshot

log = logger("watch")

BLOCKING_WAIT = 60.0
"""Seconds that a blocking query may block, as in consul-template. Consul's default of 300 causes
fewer queries, but a connection that was cut silently is detected only after that time."""

EMPTY_CONFIRM_DELAY = 1.0
"""Seconds between an empty response and the read that confirms it. An agent that restarted has
loaded its services from disk, or got them from its registrar, within this time."""

TOKEN_WAIT = 5.0
"""Seconds that a query with the token of a file may block while Consul lists no instance, or hides
some: it does not return when the file gets another token, which may read them."""

FIRST_RESPONSE_TIMEOUT = 1.0
"""Seconds that the first response may take if there is a fallback until then."""


def watch(
    agents: Agents[ConsulApi],
    query: HealthQuery,
    store: SnapshotStore,
    *,
    clock: Clock,
    random: Random,
    wait: float = BLOCKING_WAIT,
    query_interval: float = 10.0,
    first_timeout: float = CONSUL_TIMEOUT,
    wait_while_hidden: float = BLOCKING_WAIT,
    needed: Callable[[], bool] = lambda: True,
    load: AgentLoad | None = None,
) -> Flow[None]:
    """Flow: keep ``store`` up to date with Consul, while ``needed()`` is true.

    ``wait`` is how long a query may block, if it is the only watch. ``query_interval`` is the mean
    time between executions of a prepared query. ``first_timeout`` is that of the first query.
    ``wait_while_hidden`` is how long a query may block while the token may be the reason why
    nothing is listed. All are in seconds. ``load`` is what the watches of this process share;
    unless given, that of `agent_load`.
    """
    load, this_watch = load or agent_load(agents.addresses), object()
    bucket = TokenBucket()
    pause_after = _pauses(random)
    index, last = 0, None
    token = no_token()
    failures = 0
    at_intervals = False
    load.add(this_watch)
    try:
        while needed():
            api = agents.current
            if (newest := api.token()) != token:
                index, token = 0, newest  # which may read more, or less, at the same index
            try:
                seconds = load.blocking_wait(wait) if index else None
                if seconds is not None and _may_be_hidden(last):
                    seconds = min(seconds, wait_while_hidden)
                call = api.query_health(query, index=index, wait=seconds, last=last)
                if seconds is not None:
                    call = call.with_timeout(query_timeout(seconds))
                elif at_intervals:
                    call = call.on_its_own_connection()
                elif last is None and not failures:
                    call = call.with_timeout(first_timeout)
                try:
                    response = yield from call_consul(call)
                finally:
                    load.end_blocking(this_watch)
                if not response.snapshot.instances and not _known_empty(store):
                    store.empty_unconfirmed = True
                    yield Sleep(EMPTY_CONFIRM_DELAY)
                    response = yield from call_consul(api.query_health(query.consistent()))
                _require_leader(api, response, store)
            except ConsulError as error:
                _record_error(store, error)
                agents.record_failure(api)
                load.record_error(error, clock())
                index = 0
                failures += 1
                if not (another_agent_may_serve(error) and failures % len(agents)):
                    pause = pause_after(error) * load.pause_factor
                    yield Sleep(pause + (error.retry_after or 0.0))
                continue
            if store.last_error is not None:
                log.info("consul.recovered", service=store.service)
            _log_unusable(store, response.snapshot)
            store.publish(response.snapshot, clock() - response.staleness)
            is_new = last is None
            index, last, failures = next_index(index, response.index), response, 0
            pause_after = _pauses(random)
            if query.prepared_query:
                index = 0
                yield Sleep(_jittered(query_interval, random))
                continue
            if pause := bucket.take(clock()):
                yield Sleep(pause)
            at_intervals = not load.begin_blocking(this_watch, clock(), is_new=is_new)
            if at_intervals:
                index = 0
                yield Sleep(_jittered(load.read_interval, random))
    finally:
        load.remove(this_watch)


def _may_be_hidden(last: HealthResponse | None) -> bool:
    """Return whether Consul may have left out instances that the token may not read."""
    return last is not None and (not last.snapshot.instances or last.snapshot.filtered)


def _jittered(interval: float, random: Random) -> float:
    """Return the interval, varied by up to a quarter."""
    return interval * (0.75 + 0.5 * random())


def _record_error(store: SnapshotStore, error: ConsulError) -> None:
    """Record the error. The first one of an outage is logged, with the source of the snapshot that
    is used meanwhile."""
    first = store.last_error is None
    store.record_error(error)
    if first:
        source = store.current.source.value if store.current is not None else None
        log.warning("consul.error", service=store.service, why=str(error), snapshot_source=source)


def _log_unusable(store: SnapshotStore, snapshot: Snapshot) -> None:
    """Log once what cannot be used: each instance when it is listed with an unusable address, each
    entry that cannot be read, and that critical instances are used because there is no other."""
    before = store.current
    if snapshot is before:
        return
    known = before.by_uid if before is not None else {}
    for instance in snapshot.instances:
        if error := instance.address_error:
            previous = known.get(instance.uid)
            if previous is None or previous.address_error != error:
                log.warning("instance.unusable", service=store.service, id=instance.uid, why=error)
    for why in snapshot.unreadable:
        if before is None or why not in before.unreadable:
            log.warning("instance.unreadable", service=store.service, why=why)
    if _uses_critical(snapshot) and (before is None or not _uses_critical(before)):
        log.warning("discovery.using_critical", service=store.service, why=snapshot.summary())


def _uses_critical(snapshot: Snapshot) -> bool:
    return bool(snapshot.usable and not snapshot.healthy)


def _known_empty(store: SnapshotStore) -> bool:
    return store.current is not None and not store.current.instances


def _require_leader(api: ConsulApi, response: HealthResponse, store: SnapshotStore) -> None:
    """Raise ConsulUnavailable if the responding server has no leader. The snapshot is published
    anyway if there is no other."""
    if not response.leaderless:
        return
    if store.current is None and response.snapshot.instances:
        store.publish(response.snapshot)
    raise ConsulUnavailable(
        api.address, 200, "the server has no leader, and its data may be out of date", None
    )


def _pauses(random: Random) -> Callable[[ConsulError], float]:
    """Return a function that returns the pause after an error: short while Consul is unavailable,
    up to 5 s for a mistake that an operator has to correct, such as a wrong token."""
    unavailable: Iterator[float] = full_jitter(CONSUL_WAIT, random)
    mistake: Iterator[float] = full_jitter(MISTAKE_WAIT, random)

    def pause_after(error: ConsulError) -> float:
        return next(mistake if isinstance(error, ConsulDenied | ConsulRejected) else unavailable)

    return pause_after
