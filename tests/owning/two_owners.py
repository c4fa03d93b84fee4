"""Two owners of one session, whose flows are interleaved step by step, with a model of KATO."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kato_consul._balancing.pool import Pool
from kato_consul._flow import Flow, Outcome, Send, Sleep, Step, WaitForChange
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._observable import SnapshotStore
from kato_consul._owning import handover
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.owner import SessionOwner
from kato_consul._requests.failover import Failover
from kato_consul.models import Instance, Snapshot
from tests.building import refused
from tests.kato.model_kato import ModelKato
from tests.owning.model_directory import ModelDirectory, ModelStore

KEY = "user-123"

CALL_TIMEOUT = 300.0

CallFlow = Callable[[KatoApi, SessionState, float], Flow[Any]]


@dataclass
class Running:
    """A flow of one owner, at one of its steps. ``until`` is when its sleep ends. ``done`` is
    called with its result, or with its error."""

    flow: Flow[Any]
    step: Step
    until: float
    done: Callable[[Any, BaseException | None], None]


@dataclass
class OneOwner:
    """One process: its directory, its owner and its state of the session.

    ``deletes``: False if KATO's sessions that were left stay there, as when KATO is overloaded.
    """

    name: str
    kato: ModelKato
    store: ModelStore
    keeps_observations: bool = True
    deletes: bool = True
    running: Running | None = None
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = self.kato.clock
        self.directory = ModelDirectory(self.store, self.name)
        self.owned = OwnedSessions(self.directory, keeps_observations=self.keeps_observations)
        self.owner = SessionOwner(self.owned)
        snapshots = SnapshotStore("kato")
        instances = tuple(Instance(name, "kato", f"{name}.example", 8000) for name in "abc")
        snapshots.publish(Snapshot("kato", instances))
        pool = Pool(clock, lambda: 0.5)
        failover = Failover(snapshots, pool, clock, lambda: 0.5)
        self.api = KatoApi(failover, attempt_timeout=1.0, owner=self.owner)
        self.state = SessionState(KEY, "node", owns_node=True)

    def call(self, flow: CallFlow, done: Callable[[Any, BaseException | None], None]) -> None:
        """Begin a call on the session."""
        deadline = self.kato.clock.now + CALL_TIMEOUT
        self._begin(self.owner.run(self.api, flow, self.state, deadline), done)

    def hand_over_if_wanted(self) -> None:
        """Begin to hand the session over, if another owner waits for it."""
        deadline = self.kato.clock.now + CALL_TIMEOUT
        if KEY not in self.directory.wanted.current:
            return
        if KEY not in self.owned.states:
            self._begin(self.directory.disown(KEY, deadline), lambda result, error: None)
        else:
            release = handover.release(self.owned, self.api, self.state, deadline)
            self._begin(release, lambda result, error: None)

    def forget(self) -> None:
        """Go on as a new process, which knows nothing of the session."""
        assert self.running is None
        self.state = SessionState(KEY, "node", owns_node=True)
        self.owned.states.clear()

    def _begin(self, flow: Flow[Any], done: Callable[[Any, BaseException | None], None]) -> None:
        assert self.running is None
        self.running = Running(flow, Sleep(0.0), 0.0, done)
        self._advance(lambda: next(flow))

    def step(self) -> None:
        """Carry out the step at which this owner's flow is, and continue it to the next one."""
        running = self.running
        assert running is not None
        clock = self.kato.clock
        outcome: Outcome | None = None
        if isinstance(running.step, Send):
            kept = running.step.method == "DELETE" and not self.deletes
            outcome = refused() if kept else self.kato.answer(running.step)
        elif isinstance(running.step, Sleep | WaitForChange):
            clock.now = max(clock.now, running.until)
        self._advance(lambda: running.flow.send(outcome))

    def stop_before(self, method: str, path: str) -> None:
        """Continue until the next step is a request whose path ends like this."""
        while self.running is not None:
            if self.is_before(method, path):
                return
            self.step()
        raise AssertionError(f"{self.name} does not send {method} {path}")

    def is_before(self, method: str, path: str) -> bool:
        """Return whether the next step is a request whose path ends like this."""
        step = None if self.running is None else self.running.step
        return isinstance(step, Send) and step.method == method and step.target.endswith(path)

    def cancel(self) -> Send | None:
        """Cancel the call, at the step at which it is. Return its request, which may be applied all
        the same, now or later."""
        running, self.running = self.running, None
        assert running is not None
        running.flow.close()
        running.done(None, GeneratorExit())
        return running.step if isinstance(running.step, Send) else None

    def _advance(self, resume: Callable[[], Step]) -> None:
        running = self.running
        assert running is not None
        try:
            running.step = resume()
        except StopIteration as stop:
            self.running = None
            running.done(stop.value, None)
        except Exception as error:  # noqa: BLE001
            self.running = None
            running.done(None, error)
        else:
            seconds = 0.0
            if isinstance(running.step, Sleep):
                seconds = running.step.seconds
            elif isinstance(running.step, WaitForChange):
                seconds = running.step.timeout
            running.until = self.kato.clock.now + seconds

    def finish(self, others: Iterable["OneOwner"]) -> None:
        """Continue until the call has ended; the others hand over what it waits for."""
        for _ in range(20_000):
            if self.running is None:
                return
            self.step()
            for other in others:
                if other.running is not None:
                    other.step()
                else:
                    other.hand_over_if_wanted()
        raise AssertionError(f"{self.name} does not come to an end: {self.running}")
