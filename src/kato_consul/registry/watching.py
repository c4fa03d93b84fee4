"""Watching one service: blocking queries in, snapshots out.

The law, as HashiCorp documents it (https://developer.hashicorp.com/consul/api-docs/features/blocking):

* the index is 0 at first; after that it is at least 1, or the query would not block;
* an index that went down, or an error, sets it back to 0;
* an answer need not mean a change, and a wake-up without one changes nothing (see `Board`);
* the server adds up to wait/16 to a wait, so the timeout allows for that and for the way there;
* rounds are rate-limited by a token bucket, and errors answered by backing off with full jitter;
* an empty answer may be a lie (a restarting server, a cold cache): it is believed after a second,
  consistent, uncached read, made after a short hold.
"""

from kato_consul.backoff import CONSUL_WAIT, full_jitter
from kato_consul.board import Board
from kato_consul.errors import ConsulError
from kato_consul.flow import Clock, Flow, Random, Sleep
from kato_consul.model import Snapshot
from kato_consul.registry.calls import ConsulCalls, ask
from kato_consul.registry.pacing import TokenBucket

WAIT = 300.0
"""Seconds a blocking query may block: Consul's own default."""

SLACK = 5.0
"""Seconds allowed for the way to the server and back, beyond wait + wait/16."""

RATE, BURST = 2.0, 10.0
"""Rounds a second, and how many may come at once. A rolling restart of a small fleet is a burst."""

HOLD = 1.0
"""Seconds between an empty answer and the read that confirms it. An agent that restarted has its
services back from disk, or from its registrar, well within this."""


def watch(
    calls: ConsulCalls, board: Board, *, clock: Clock, random: Random, wait: float = WAIT
) -> Flow[None]:
    """Flow without end: keep ``board`` as Consul sees the service."""
    bucket = TokenBucket(RATE, BURST)
    pauses = full_jitter(CONSUL_WAIT, random)
    index = 0
    while True:
        if pause := bucket.take(clock()):
            yield Sleep(pause)
        try:
            call = calls.health(board.service, index=index, wait=wait if index else None)
            snapshot = yield from ask(call.within(wait + wait / 16 + SLACK) if index else call)
            if not snapshot.instances and _had_some(board):
                snapshot = yield from _confirmed_empty(calls, board.service)
        except ConsulError as error:
            board.report(error)
            index = 0
            yield Sleep(next(pauses) + (error.retry_after or 0.0))
            continue
        board.publish(snapshot)
        index = next_index(index, snapshot.index)
        pauses = full_jitter(CONSUL_WAIT, random)


def next_index(last: int, answered: int) -> int:
    """The index to ask with next. Backwards means a restarted server: start over."""
    return 0 if answered < last else max(1, answered)


def _had_some(board: Board) -> bool:
    return board.current is None or bool(board.current.instances)


def _confirmed_empty(calls: ConsulCalls, service: str) -> Flow[Snapshot]:
    yield Sleep(HOLD)
    # py-consul's health reads take no consistency, so the parameter is added here.
    return (yield from ask(calls.health(service).with_parameter("consistent")))
