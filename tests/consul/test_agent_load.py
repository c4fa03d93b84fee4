"""Agent load: how many watches block, for how long, and how often the others read."""

import os

import pytest

from kato_consul._consul import agent_load as module
from kato_consul._consul.agent_load import (
    MAX_BLOCKING,
    MAX_READS,
    READ_INTERVAL,
    RECOVERY,
    AgentLoad,
    agent_load,
    may_be_connection_limit,
)
from kato_consul.errors import ConsulDenied, ConsulError, ConsulUnavailable, ConsulUnreachable

AT = "http://consul.test:8500"
NOW = 1_000.0
REFUSED = ConsulUnavailable(AT, 429, "too many connections", None)


def with_watches(number: int) -> tuple[AgentLoad, list[object]]:
    """Return the load of so many watches, none of which blocks."""
    load, watches = AgentLoad(), [object() for _ in range(number)]
    for watch in watches:
        load.add(watch)
    return load, watches


def blocking(load: AgentLoad, watches: list[object], now: float = NOW) -> int:
    """Return how many of the watches may block."""
    return sum(load.begin_blocking(watch, now, is_new=False) for watch in watches)


@pytest.mark.parametrize(
    ("watches", "block", "seconds", "interval"),
    [
        (1, 1, 60.0, READ_INTERVAL),
        (2, 2, 30.0, READ_INTERVAL),
        (4, 4, 15.0, READ_INTERVAL),
        (5, 4, 15.0, READ_INTERVAL),
        (30, 4, 15.0, READ_INTERVAL),
        (104, 4, 15.0, 100 / MAX_READS),
        (304, 4, 15.0, 300 / MAX_READS),
    ],
)
def test_few_watches_block(watches: int, block: int, seconds: float, interval: float) -> None:
    """A single watch blocks for the whole time; of many, some block and the others read."""
    load, all_watches = with_watches(watches)
    assert blocking(load, all_watches) == block
    assert load.blocking_wait(60.0) == seconds
    assert load.read_interval == interval


@pytest.mark.parametrize(("watches", "blocks"), [(1, True), (2, False)])
def test_new_watch_blocks_only_if_it_is_alone(watches: int, blocks: bool) -> None:
    """One of several reads first: until then, a refusal may show that the agent has no room."""
    load, all_watches = with_watches(watches)
    assert load.begin_blocking(all_watches[-1], NOW, is_new=True) is blocks


@pytest.mark.parametrize("end", [AgentLoad.end_blocking, AgentLoad.remove])
def test_another_watch_may_block_when_one_has_ended(end: object) -> None:
    """The place of a query that ended, or of a watch that ended, is free."""
    load, watches = with_watches(MAX_BLOCKING + 1)
    assert blocking(load, watches) == MAX_BLOCKING
    end(load, watches[0])  # type: ignore[operator]
    assert load.begin_blocking(watches[-1], NOW, is_new=False)


def test_refusals_halve_the_blocking_queries_and_each_minute_allows_one_more() -> None:
    """At least one may block, and the number returns to what it was."""
    load, watches = with_watches(MAX_BLOCKING)

    def allowed(now: float) -> int:
        number = blocking(load, watches, now)
        for watch in watches:
            load.end_blocking(watch)
        return number

    assert allowed(NOW) == 4
    load.record_error(REFUSED, NOW)
    assert allowed(NOW) == 2
    load.record_error(REFUSED, NOW)
    load.record_error(REFUSED, NOW)
    assert allowed(NOW + RECOVERY - 1) == 1
    assert [allowed(NOW + minute * RECOVERY) for minute in (1, 2, 3, 4)] == [2, 3, 4, 4]


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (REFUSED, True),
        (ConsulUnreachable(AT, "cut", sent=True), True),
        (ConsulUnreachable(AT, "refused"), False),
        (ConsulUnavailable(AT, 500, "no leader", None), False),
        (ConsulDenied(AT, "reading", "no"), False),
    ],
)
def test_which_errors_are_refusals(error: ConsulError, refused: bool) -> None:
    """A 429, and a connection that was cut: the agent closes it after the 429."""
    assert may_be_connection_limit(error) is refused
    load, watches = with_watches(MAX_BLOCKING)
    load.record_error(error, NOW)
    assert blocking(load, watches) == (2 if refused else MAX_BLOCKING)


def test_pauses_after_errors_grow_with_the_watches() -> None:
    """All watches together retry as often as a few would."""
    assert with_watches(1)[0].pause_factor == 1.0
    assert with_watches(MAX_BLOCKING)[0].pause_factor == 1.0
    assert with_watches(10 * MAX_BLOCKING)[0].pause_factor == 10.0


def test_load_is_shared_by_agent_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of the same agents share it, and a forked child has its own."""
    load = agent_load((AT,))
    assert agent_load((AT,)) is load
    assert agent_load((AT, "http://other.test:8500")) is not load
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert agent_load((AT,)) is not load


def test_load_of_agents_without_clients_is_not_kept() -> None:
    """It is forgotten with its last user."""
    load = agent_load(("http://forgotten.test:8500",))
    key = (os.getpid(), ("http://forgotten.test:8500",))
    assert key in module._loads
    del load
    assert key not in module._loads
