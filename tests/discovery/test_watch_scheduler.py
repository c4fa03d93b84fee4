"""Watch scheduler: which watch runs next, when one ends, and how many workers there are."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from kato_consul._discovery.watch_scheduler import IDLE_TIMEOUT, MAX_WORKERS, WatchScheduler
from kato_consul._flow import CloseConnections, Flow, Send, Sleep, Step, WaitForChange
from kato_consul._observable import Observable
from kato_consul.errors import ClientClosed
from kato_consul.testing.clock import ManualClock
from tests.building import reply

BEGIN = 1_000.0


def query(name: str) -> Send:
    """Return a query of a service."""
    return Send("http://consul.test:8500", "GET", name, 10.0)


def polling(name: str, interval: float) -> Flow[None]:
    """Flow: a watch that reads at an interval, for ever."""
    while True:
        yield query(name)
        yield Sleep(interval)


@dataclass
class Scheduled:
    """A scheduler on a manual clock. One worker takes every step, in the order of `log`."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(BEGIN))
    log: list[tuple[float, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    most_steps: int = 200

    def __post_init__(self) -> None:
        self.scheduler = WatchScheduler(self.clock)

    def watch(self, name: str, *flows: Callable[[], Flow[None]], until: float = BEGIN) -> None:
        """Keep a service watched."""

        def on_end() -> Iterable[str]:
            self.ended.append(name)
            return [f"http://{name}"]

        self.scheduler.keep_watching(name, until, lambda: [flow() for flow in flows], on_end)

    def run(self, until: float) -> None:
        """Let a worker run until a time."""
        worker = self.scheduler.worker()
        with suppress(StopIteration):
            step = next(worker)
            for _ in range(self.most_steps):
                if self.clock() >= until:
                    break
                step = worker.send(self._carry_out(step, until))
        worker.close()

    def _carry_out(self, step: Step, until: float) -> object:
        now = self.clock() - BEGIN
        if isinstance(step, Send):
            self.log.append((now, step.target))
            return reply(200, [])
        if isinstance(step, CloseConnections):
            self.log.append((now, f"close {step.origin}"))
        if isinstance(step, WaitForChange):
            self.clock.advance(min(step.timeout, until - self.clock()))
        return None


def test_watches_run_when_they_are_due() -> None:
    """A worker runs several watches, each at its own times."""
    scheduled = Scheduled()
    scheduled.watch("a", lambda: polling("a", 2.0))
    scheduled.watch("b", lambda: polling("b", 3.0))
    scheduled.run(BEGIN + 6.5)
    assert scheduled.log == [
        *[(0.0, "a"), (0.0, "b"), (2.0, "a"), (3.0, "b"), (4.0, "a")],
        *[(6.0, "a"), (6.0, "b")],
    ]


def test_watch_that_has_been_due_for_longest_runs_first() -> None:
    """After a slow response, the others run in the order in which they were due."""
    scheduled = Scheduled()

    def slow(name: str) -> Flow[None]:
        yield Sleep(1.0)
        yield query(name)
        scheduled.clock.advance(10.0)
        yield Sleep(100.0)

    scheduled.watch("slow", lambda: slow("slow"))
    for name, interval in (("c", 5.0), ("a", 3.0), ("b", 4.0)):
        scheduled.watch(name, lambda name=name, interval=interval: polling(name, interval))  # type: ignore[misc]
    scheduled.run(BEGIN + 12.0)
    assert [name for at, name in scheduled.log if at == 11.0] == ["a", "b", "c"]


def test_new_watch_runs_before_all_others() -> None:
    """A call waits for it."""
    scheduled = Scheduled()
    scheduled.watch("a", lambda: polling("a", 1.0))
    scheduled.run(BEGIN + 0.5)
    scheduled.clock.advance(5.0)
    scheduled.watch("new", lambda: polling("new", 1.0))
    scheduled.log.clear()
    worker = scheduled.scheduler.worker()
    assert next(worker) == query("new")


def test_flow_that_waits_for_a_change_runs_when_it_comes() -> None:
    """The flows of a service with several datacenters wait for each other."""
    scheduled, value = Scheduled(), Observable(0)

    def waiting() -> Flow[None]:
        yield WaitForChange(value, value.current, 100.0)
        yield query("waiting")
        yield Sleep(100.0)

    def setting() -> Flow[None]:
        yield Sleep(2.0)
        value.set(1)
        yield Sleep(100.0)

    scheduled.watch("service", waiting, setting)
    scheduled.run(BEGIN + 3.0)
    assert scheduled.log == [(2.0, "waiting")]


def test_idle_service_is_not_watched() -> None:
    """After the last call its watch ends, connections are closed, and no worker is needed."""
    scheduled = Scheduled(most_steps=10_000)
    scheduled.watch("a", lambda: polling("a", 10.0), until=BEGIN + 30.0)
    scheduled.run(BEGIN + 3_600.0)
    closed, last_query = scheduled.log[-1], scheduled.log[-2]
    assert closed[1] == "close http://a"
    assert last_query[0] <= 30.0 + IDLE_TIMEOUT <= closed[0]
    assert closed[0] < 30.0 + IDLE_TIMEOUT + 0.1
    assert scheduled.ended == ["a"]
    assert not scheduled.scheduler.is_running
    assert scheduled.scheduler.missing_workers == 0


def test_calls_prolong_a_watch_and_never_shorten_it() -> None:
    """Each call keeps its service watched; one with a shorter deadline changes nothing."""
    scheduled = Scheduled(most_steps=10_000)
    scheduled.watch("a", lambda: polling("a", 10.0), until=BEGIN + 100.0)
    scheduled.watch("a", lambda: pytest.fail("it is watched"), until=BEGIN + 50.0)
    scheduled.run(BEGIN + 100.0 + IDLE_TIMEOUT)
    assert scheduled.ended == []


def test_service_is_watched_again_on_demand() -> None:
    """After its watch has ended, a call starts a new one."""
    scheduled = Scheduled(most_steps=10_000)
    scheduled.watch("a", lambda: polling("first", 10.0))
    scheduled.run(BEGIN + IDLE_TIMEOUT + 20.0)
    assert scheduled.ended == ["a"]
    scheduled.log.clear()
    scheduled.watch("a", lambda: polling("second", 10.0), until=scheduled.clock())
    assert scheduled.scheduler.missing_workers == 1
    scheduled.run(scheduled.clock() + 1.0)
    assert [name for _, name in scheduled.log] == ["second"]


def test_result_of_a_watch_that_has_ended_is_not_used() -> None:
    """If a watch ends during its query, its flow is closed without the outcome."""
    scheduled, outcomes = Scheduled(), []

    def watch() -> Flow[None]:
        outcomes.append((yield query("a")))

    scheduled.watch("a", watch)
    first, second = scheduled.scheduler.worker(), scheduled.scheduler.worker()
    assert next(first) == query("a")
    scheduled.clock.advance(IDLE_TIMEOUT + 1.0)
    assert next(second) == CloseConnections("http://a")
    with suppress(StopIteration):
        first.send(reply(200, []))
    assert outcomes == []


def test_watch_that_fails_is_started_again_by_the_next_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error in one watch is logged, and ends no other."""
    scheduled = Scheduled()

    def failing() -> Flow[None]:
        yield query("failing")
        raise ZeroDivisionError

    scheduled.watch("failing", failing)
    scheduled.watch("other", lambda: polling("other", 1.0))
    scheduled.run(BEGIN + 1.5)
    assert [name for _, name in scheduled.log].count("other") == 2
    assert scheduled.ended == ["failing"]
    assert "background.crashed" in caplog.text
    scheduled.watch("failing", lambda: polling("again", 1.0), until=scheduled.clock())
    scheduled.run(BEGIN + 1.6)
    assert scheduled.log[-1][1] == "again"


@pytest.mark.parametrize(("services", "workers"), [(0, 0), (1, 1), (5, 5), (100, MAX_WORKERS)])
def test_number_of_workers(services: int, workers: int) -> None:
    """There is a worker for each service, and only a few for many."""
    scheduled = Scheduled()
    for number in range(services):
        scheduled.watch(str(number), lambda: polling("any", 1.0))
    assert scheduled.scheduler.missing_workers == workers


def test_worker_too_many_ends() -> None:
    """A second worker for one watch ends, and the first goes on."""
    scheduled = Scheduled()
    scheduled.watch("a", lambda: polling("a", 1.0))
    first, second = scheduled.scheduler.worker(), scheduled.scheduler.worker()
    assert next(first) == query("a")
    with pytest.raises(StopIteration):
        next(second)
    assert scheduled.scheduler.missing_workers == 0
    assert isinstance(first.send(reply(200, [])), WaitForChange)


def test_closed_client_ends_all_watches() -> None:
    """`ClientClosed` in a worker closes the flows, parked ones included."""
    scheduled, closed = Scheduled(), []

    def watch(name: str) -> Flow[None]:
        try:
            yield from polling(name, 1.0)
        finally:
            closed.append(name)

    for name in ("a", "b"):
        scheduled.watch(name, lambda name=name: watch(name))  # type: ignore[misc]
    worker = scheduled.scheduler.worker()
    next(worker)
    worker.send(reply(200, []))
    with pytest.raises(ClientClosed):
        worker.throw(ClientClosed("closed"))
    assert sorted(closed) == ["a", "b"]
    assert scheduled.ended == []
    assert not scheduled.scheduler.is_running
