"""Property test of the session flows against the model: 200 runs of 60 steps, 12,000 in all.

The steps include faults, cancellations, late writes, learning by itself, changes of the
configuration, and a store that is full, down or flushed. After each, what was acknowledged is in
the memory or in one pattern, once and in order, and nothing was learned that was not asked for.
"""

import contextlib
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kato_consul._flow import Flow, Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.configuration import set_config
from kato_consul._kato.execute import execute_write, settle
from kato_consul._kato.learning import learn
from kato_consul._kato.sequence_write import observe_sequence
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.types import Observation
from kato_consul._kato.write import Write
from kato_consul.errors import BadRequest, OutcomeUnknown, PatternNotStored
from tests.kato.model_kato import Fault, ModelKato, playing
from tests.kato.seeding import RUNS, SEED

FAULTS = st.lists(st.sampled_from(Fault), max_size=3)
CALL_TIMEOUT = 300.0


@seed(SEED)
class Session(RuleBasedStateMachine):
    """One session that observes unique symbols. No other client writes to it.

    A symbol is ``certain`` if its observation was acknowledged, ``maybe`` if it may have been
    applied, and ``doubtful`` if the memory that held it may have been learned. ``asked`` counts the
    calls and observations that may have learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node", owns_node=True)
        self.symbols_used = 0
        self.certain: set[str] = set()
        self.maybe: set[str] = set()
        self.doubtful: set[str] = set()
        self.asked = 0
        self.checked = True

    @initialize(longest=st.sampled_from([0, 0, 2, 4]), owns_node=st.booleans())
    def configure(self, longest: int, owns_node: bool) -> None:
        """Choose whether KATO learns by itself, and whether other sessions teach the node."""
        self.state.journal.config = {"max_pattern_length": longest}
        self.state.owns_node = owns_node

    @rule(faults=FAULTS, symbols=st.integers(0, 2))
    def observe(self, faults: list[Fault], symbols: int) -> None:
        """Observe 0, 1 or 2 symbols at once."""
        event = self._event(symbols)
        self._write(faults, [event], writes.observe({"strings": event}))

    @rule(
        faults=FAULTS,
        sizes=st.lists(st.integers(0, 2), min_size=1, max_size=4),
        learn_after_each=st.booleans(),
    )
    def observe_sequence(
        self, faults: list[Fault], sizes: list[int], learn_after_each: bool
    ) -> None:
        """Observe a sequence of 1 to 4 observations."""
        events = [self._event(size) for size in sizes]
        observations: list[Observation] = [{"strings": event} for event in events]
        write = observe_sequence(observations, learn_after_each=learn_after_each)
        self._write(faults, events, write)

    @rule(faults=FAULTS)
    def learn(self, faults: list[Fault]) -> None:
        """Learn the memory."""
        self.kato.faults = faults
        self.asked += 1
        memory = self.certain | self.maybe
        try:
            self._play(learn(self.api, self.state, self._deadline()))
        except BadRequest:
            assert not self._in_memory(self.certain) or not self.checked
        except OutcomeUnknown:
            self.doubtful |= memory
        except PatternNotStored:
            raise AssertionError("no learn of this memory was interrupted before") from None
        else:
            assert self._stored() in (None, []) or self.kato.store != "up" or not self.checked
        self.kato.faults = []

    @rule(faults=FAULTS)
    def settle(self, faults: list[Fault]) -> None:
        """Ask for the outcome of a call that ended without one."""
        self.kato.faults = faults
        with contextlib.suppress(OutcomeUnknown):
            self._play(settle(self.api, self.state, self._deadline()))
        self.kato.faults = []

    @rule(faults=FAULTS)
    def clear(self, faults: list[Fault]) -> None:
        """Clear the memory."""
        self.kato.faults = faults
        self._play(execute_write(self.api, self.state, self._deadline(), writes.clear_stm()))
        self.kato.faults = []
        self.certain, self.maybe, self.doubtful = set(), set(), set()
        self.checked = True

    @rule(faults=FAULTS, longest=st.sampled_from([0, 1, 2, 4]))
    def change_config(self, faults: list[Fault], longest: int) -> None:
        """Change after how many events KATO learns by itself."""
        self.kato.faults = faults
        self._play(
            set_config(
                self.api, self.state, self._deadline(), values={"max_pattern_length": longest}
            )
        )
        self.kato.faults = []

    @rule(steps=st.integers(1, 12), faults=FAULTS, symbols=st.integers(0, 1))
    def cancel(self, steps: int, faults: list[Fault], symbols: int) -> None:
        """Cancel an observe after some steps: it may have been applied, or not."""
        self.kato.faults = faults
        event = self._event(symbols)
        write = writes.observe({"strings": event})
        self._may_learn([event], write)
        flow = execute_write(self.api, self.state, self._deadline(), write)
        try:
            step = next(flow)
            for _ in range(steps):
                outcome = self.kato.answer(step) if isinstance(step, Send) else None
                step = flow.send(outcome)
        except StopIteration:
            self.certain.update(event)
        except OutcomeUnknown:
            self.maybe.update(event)
        else:
            self.maybe.update(event)
        finally:
            flow.close()
        self.kato.faults = []

    @precondition(lambda self: self.kato.hung)
    @rule()
    def wake(self) -> None:
        """Resume the hung instance: its requests land now."""
        self.kato.wake()

    @rule(seconds=st.floats(1.0, 1000.0))
    def hang_longer(self, seconds: float) -> None:
        """Set how long the next instance hangs."""
        self.kato.hangs_for = seconds

    @rule()
    def flush(self) -> None:
        """Delete all sessions."""
        self.kato.lose_sessions()
        self.checked = False

    @rule(seconds=st.floats(0.5, 10.0))
    def store_down(self, seconds: float) -> None:
        """Observe while the store is down for some seconds."""
        with self._store("down", seconds):
            self.observe([], 1)

    @rule(count=st.integers(1, 2))
    def store_full(self, count: int) -> None:
        """Observe while a full store acknowledges and loses; a later call repairs that."""
        if self.state.id is None:
            return
        with self._store("full", 3.0):
            for _ in range(count):
                self.observe([], 1)
        self.checked = False

    @invariant()
    def exactly_once(self) -> None:
        """What was acknowledged is in the memory or in a pattern, once and in order.

        After a loss this holds once the session was read.
        """
        assert all(frequency == 1 for frequency in self.kato.patterns.values())
        assert len(self.kato.patterns) <= self.asked
        memory = self._stored()
        if memory is not None and self.checked and self.state.pending is None:
            self._compare(memory)

    def teardown(self) -> None:
        """Read everything back at the end. The read repairs what is still wrong."""
        if self.state.id is None:
            return
        self.kato.store = "up"
        self._play(reading.stm(self.api, self.state, self._deadline()))
        self.checked = True
        self.exactly_once()

    def _write(self, faults: list[Fault], events: list[list[str]], write: Write[Any]) -> None:
        """Carry out a write of observations. Only one that may learn may have no outcome."""
        self.kato.faults = list(faults)
        symbols = {symbol for event in events for symbol in event}
        may_learn = self._may_learn(events, write)
        try:
            self._play(execute_write(self.api, self.state, self._deadline(), write))
        except OutcomeUnknown:
            assert may_learn
            self.maybe |= symbols
        else:
            self.certain |= symbols
        self.kato.faults = []

    def _may_learn(self, events: list[list[str]], write: Write[Any]) -> bool:
        """Note that a write may learn, with all that is in the memory, and return whether it may.

        What is pending may be in the memory by then, so this is judged generously.
        """
        if not write.once_only and not self.state.journal.config["max_pattern_length"]:
            return False
        self.asked += len(events)
        self.doubtful |= self.certain | self.maybe | {one for event in events for one in event}
        return True

    def _in_memory(self, symbols: set[str]) -> set[str]:
        return symbols & {one for event in self._stored() or () for one in event}

    def _stored(self) -> list[list[str]] | None:
        if self.state.id not in self.kato.sessions:
            return None
        return self.kato.session_of(self.state).stm

    def _compare(self, stm: list[list[str]]) -> None:
        memory = [symbol for event in stm for symbol in event]
        learned = {one for pattern in self.kato.patterns for event in pattern for one in event}
        assert memory == sorted(set(memory)), f"twice, or out of order: {memory}"
        assert set(memory) <= self.certain | self.maybe
        lost = self.certain - set(memory) - learned
        assert not lost, f"lost: {lost}"
        twice = (self.certain | self.maybe) - self.doubtful
        twice &= set(memory) & learned
        assert not twice, f"learned, and still in the memory: {twice}"

    def _play(self, flow: Flow[Any]) -> Any:
        return self.player.play(flow, most=5_000)

    @contextlib.contextmanager
    def _store(self, condition: str, seconds: float) -> Any:
        """The store is down or full for some seconds."""
        up_at = self.player.clock.now + seconds
        self.kato.store = condition
        answer = self.kato.answer

        def until_up(send: Send) -> Any:
            if self.player.clock.now >= up_at:
                self.kato.store = "up"
            return answer(send)

        self.player.answer = until_up
        yield
        self.player.answer = answer
        self.kato.store = "up"

    def _event(self, symbols: int) -> list[str]:
        self.symbols_used += symbols
        return [f"s{number:05}" for number in range(self.symbols_used - symbols, self.symbols_used)]

    def _deadline(self) -> float:
        return self.player.clock.now + CALL_TIMEOUT


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=RUNS,
    stateful_step_count=60,
    deadline=None,
    print_blob=True,
    # Shrinking 60 steps takes minutes: add Phase.shrink by hand, with the seed of the run.
    phases=[Phase.generate],
    database=None,  # a run depends on its seed alone
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
