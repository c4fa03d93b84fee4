"""Pattern store: what KATO has learned, as evidence of whether a learn was applied.

A learn counts the pattern, then writes its row, then saves the session with an empty memory
(measured on KATO 3.10.1). A process that stops in between leaves the memory as it was: an unchanged
memory does not prove that nothing was learned. ``GET /pattern`` returns the frequency of a pattern
that has a row.
"""

from collections.abc import Sequence
from urllib.parse import quote

from kato_consul._flow import Flow, Sleep
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.pattern import PatternCount, pattern_name
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Event
from kato_consul._logging import logger
from kato_consul._requests.request import Request
from kato_consul.errors import (
    KatoAnswerError,
    KatoError,
    NoResponse,
    PatternNotStored,
    StoreUnavailable,
)

log = logger("session")

PREFIX = "PTRN|"

ROW_VISIBLE_WITHIN = 2.0
"""Seconds within which the row of a new pattern is seen. KATO lets ClickHouse insert it
asynchronously, which takes up to 0.2 s by default
(https://clickhouse.com/docs/optimize/asynchronous-inserts)."""


def read_pattern_count(
    api: KatoApi, node_id: str, events: Sequence[Event], deadline: float
) -> Flow[PatternCount | None]:
    """Flow: return the pattern that a learn of ``events`` makes, as it is before that learn.

    Return None if the learn makes none (a single symbol).

    Raises:
        StoreUnavailable: KATO could not read its pattern store before the deadline. A first learn
            would fail halfway.
    """
    if sum(map(len, events)) < 2:
        return None
    name = pattern_name(events)
    try:
        frequency = yield from read_frequency(api, node_id, name, deadline)
    except NoResponse as error:
        raise StoreUnavailable("learn", str(error), store="ClickHouse") from error
    return PatternCount(name, frequency)


def read_frequency(api: KatoApi, node_id: str, name: str, deadline: float) -> Flow[int | None]:
    """Flow: return a pattern's frequency; None if KATO does not return it.

    That is no proof of 0: KATO returns "not found" while its ClickHouse does not respond, and a
    frequency of 0 while its Redis does not (measured on KATO 3.10.1).

    Raises:
        NoResponse, RequestNotSent, NoInstances: see `Failover.call`.
    """
    pattern_id = quote(PREFIX + name, safe="")
    request = Request(
        "reading the pattern",
        "GET",
        f"/pattern/{pattern_id}?node_id={quote(node_id, safe='')}",
        repeatable=True,
        timeout=api.attempt_timeout,
        needs=("pattern",),
    )
    try:
        response, _ = yield from api.call(request, deadline)
    except KatoAnswerError:
        return None
    outer = response["pattern"]
    pattern = outer.get("pattern") if isinstance(outer, dict) else None
    frequency = pattern.get("frequency") if isinstance(pattern, dict) else None
    return frequency if isinstance(frequency, int) and frequency > 0 else None


def require_row(
    api: KatoApi, state: SessionState, what: str, name: str, deadline: float
) -> Flow[None]:
    """Flow: check that a pattern which KATO has just learned has a row.

    The learn is acknowledged: if the pattern store does not respond, this is logged, and no error.

    Raises:
        PatternNotStored: it has none.
    """
    until = min(deadline, api.now() + ROW_VISIBLE_WITHIN)
    for delay in api.retry_delays():
        try:
            frequency = yield from read_frequency(api, state.node_id, name, deadline)
        except KatoError as error:
            log.warning("pattern.not_checked", key=state.key, pattern=name, why=str(error))
            return
        if frequency is not None:
            return
        if api.now() >= until:
            raise PatternNotStored(what, state.node_id, PREFIX + name)
        yield Sleep(max(0.0, min(delay, until - api.now())))
