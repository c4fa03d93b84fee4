"""The session flow against the model, at random: 200 runs of 60 steps, 12,000 steps in all.

Faults, cancellations in the middle, late landings, a store that is full, down or flushed. Whatever
happens, what was acknowledged is there once and in order, and nothing is there that nobody said.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kato_consul._flow import Flow, Send
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute
from kato_consul._kato.session_state import MOST_IN_FLIGHT, SessionState
from kato_consul._kato.types import Observation
from kato_consul.errors import BadRequest, OutcomeUnknown, SessionConflict
from tests.kato.model_kato import Fault, ModelKato, playing
from tests.kato.seeding import SEED

FAULTS = st.lists(st.sampled_from(Fault), max_size=3)
PATIENCE = 300.0


class Told(Exception):
    """The client raised a conflict where it may; from there on the run has nothing to compare."""


def unless_told(rule_function: Callable[..., None]) -> Callable[..., None]:
    """A rule that does nothing once a conflict was told."""

    @functools.wraps(rule_function)
    def run(self: "Session", **drawn: Any) -> None:
        if not self.told:
            with contextlib.suppress(Told):
                rule_function(self, **drawn)

    return run


@seed(SEED)
class Session(RuleBasedStateMachine):
    """One session, told of unique symbols; ``certain`` ones were acknowledged, ``maybe`` not."""

    def __init__(self) -> None:
        super().__init__()
        self.kato = ModelKato()
        self.player, self.api = playing(self.kato)
        self.state = SessionState("me", "node")
        self.said = 0
        self.certain: list[str] = []
        self.maybe: set[str] = set()
        self.lessons: set[str] = set()
        self.open_lesson = False
        self.learning = False
        self.told = False
        self.checked = True
        self.landings = 0

    @rule(faults=FAULTS, symbols=st.integers(0, 2))
    @unless_told
    def observe(self, faults: list[Fault], symbols: int) -> None:
        """One observation of 0, 1 or 2 symbols."""
        self._tell(faults, [self._event(symbols)], sequence=False)

    @rule(faults=FAULTS, sizes=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    @unless_told
    def observe_sequence(self, faults: list[Fault], sizes: list[int]) -> None:
        """Several at once."""
        self._tell(faults, [self._event(size) for size in sizes], sequence=True)

    @rule(faults=st.lists(st.sampled_from(Fault), max_size=1))
    @unless_told
    def learn(self, faults: list[Fault]) -> None:
        """Learn; what was certain is a lesson then, once."""
        self.kato.faults = faults
        landings = self.kato.landings
        self.learning = True
        try:
            self._play(execute(self.api, self.state, self._deadline(), writes.learn()))
        except BadRequest:
            assert not self.certain
        except OutcomeUnknown:
            self.open_lesson = True
            self._forget()
        else:
            self.lessons.update(self.certain)
            self._clear()
        finally:
            self.learning = False
        if landings != self.kato.landings:
            # What lands between the look before a learn and the learn itself is learned with it.
            self.lessons.clear()

    @rule(faults=FAULTS)
    @unless_told
    def clear(self, faults: list[Fault]) -> None:
        """Clear."""
        self.kato.faults = faults
        self._play(execute(self.api, self.state, self._deadline(), writes.clear_stm()))
        self._clear()

    @rule(steps=st.integers(1, 6), faults=FAULTS)
    @unless_told
    def observe_cancelled(self, steps: int, faults: list[Fault]) -> None:
        """A caller that is cancelled after some steps: it may have been applied, or not."""
        self.kato.faults = faults
        event = self._event(1)
        flow = execute(self.api, self.state, self._deadline(), writes.observe({"strings": event}))
        try:
            with self._conflicts_told():
                step = next(flow)
                for _ in range(steps):
                    outcome = self.kato.answer(step) if isinstance(step, Send) else None
                    step = flow.send(outcome)
        except StopIteration:
            self.certain += event
        else:
            self.maybe.update(event)
        finally:
            flow.close()
        self.kato.faults = []

    @precondition(lambda self: self.kato.hung)
    @rule()
    @unless_told
    def wake(self) -> None:
        """A hung instance goes on: what it had in hand lands now."""
        self.kato.wake()

    @rule(seconds=st.floats(1.0, 1000.0))
    @unless_told
    def hang_longer(self, seconds: float) -> None:
        """The next instance that hangs does so for this long."""
        self.kato.hangs_for = seconds

    @rule()
    @unless_told
    def flush(self) -> None:
        """The store loses all sessions, and with them what hung instances could save to."""
        self.kato.lose_sessions()
        self.checked = False

    @rule(seconds=st.floats(0.5, 10.0))
    @unless_told
    def store_away(self, seconds: float) -> None:
        """The store is down for a while, and an observation waits for it."""
        back = self.player.clock.now + seconds
        self.kato.store = "down"
        answer = self.kato.answer

        def until_back(send: Send) -> Any:
            if self.player.clock.now >= back:
                self.kato.store = "up"
            return answer(send)

        self.player.answer = until_back
        self._tell([], [self._event(1)], sequence=False)
        self.player.answer = answer
        self.kato.store = "up"

    @rule(count=st.integers(1, 2))
    @unless_told
    def store_full(self, count: int) -> None:
        """The store acknowledges and loses; what this client says next makes it good."""
        if self.state.id is None:
            return
        self._check()
        self.kato.store = "full"
        back = self.player.clock.now + 3.0
        answer = self.kato.answer

        def until_back(send: Send) -> Any:
            if self.player.clock.now >= back:
                self.kato.store = "up"
            return answer(send)

        self.player.answer = until_back
        for _ in range(count):
            self._tell([], [self._event(1)], sequence=False)
        self.player.answer = answer
        self.kato.store = "up"
        self.checked = False

    @invariant()
    def exactly_once(self) -> None:
        """What the session holds is what was acknowledged, once and in order.

        After a late landing or a loss that is so once the session was looked at, by `stm` or by a
        learn. The next answer shows most of them, but not one that took the place of another.
        """
        if (
            not self.told
            and self.checked
            and self.landings == self.kato.landings
            and self.state.id in self.kato.sessions
            and self.state.pending is None
        ):
            self._compare(self.kato.sessions[self.state.id].stm)

    def teardown(self) -> None:
        """At the end everything is read back; whatever is wrong by then is put right by reading."""
        if not self.told:
            with contextlib.suppress(Told):
                self._check()
        if self.told or self.open_lesson:
            # A learn that ended without an outcome may land late, together with other late writes;
            # then nobody can tell what it took. docs/guarantees.md says so.
            return
        for events, frequency in self.kato.patterns.items():
            symbols = {symbol for event in events for symbol in event}
            assert frequency == 1 or not symbols <= self.lessons, (events, frequency)

    def _tell(self, faults: list[Fault], events: list[list[str]], *, sequence: bool) -> None:
        self.kato.faults = list(faults)
        observations: list[Observation] = [{"strings": event} for event in events]
        write: writes.Write[Any] = (
            writes.observe_sequence(observations) if sequence else writes.observe(observations[0])
        )
        self._play(execute(self.api, self.state, self._deadline(), write))
        self.certain += [symbol for event in events for symbol in event]
        self.kato.faults = []

    def _check(self) -> None:
        if self.state.id is None:
            return
        self.kato.faults = []
        stm = self._play(reading.stm(self.api, self.state, self._deadline()))
        self._compare(stm)
        self._trust()

    def _compare(self, stm: list[list[str]]) -> None:
        found = [symbol for event in stm for symbol in event]
        assert len(found) == len(set(found)), f"twice: {found}"
        assert [one for one in found if one not in self.maybe] == self.certain
        assert set(found) <= {*self.certain, *self.maybe}

    def _play(self, flow: Flow[Any]) -> Any:
        with self._conflicts_told():
            return self.player.play(flow, most=5_000)

    @contextlib.contextmanager
    def _conflicts_told(self) -> Iterator[None]:
        """Not proven, so not repaired but told: that is the promise where the proof's means end."""
        try:
            yield
        except SessionConflict:
            # More late writes than are remembered, or a learn that may have taken what is missing.
            if not (
                len(self.state.in_flight) == MOST_IN_FLIGHT or self.open_lesson or self.learning
            ):
                raise
            self.told = True
            raise Told from None

    def _event(self, symbols: int) -> list[str]:
        self.said += symbols
        return [f"s{number:05}" for number in range(self.said - symbols, self.said)]

    def _deadline(self) -> float:
        return self.player.clock.now + PATIENCE

    def _clear(self) -> None:
        self.certain = []
        self.maybe = set()
        self._trust()

    def _trust(self) -> None:
        self.checked = True
        self.landings = self.kato.landings

    def _forget(self) -> None:
        """A lesson without an outcome: everything of before may be there, or not."""
        self.maybe.update(self.certain)
        self.certain = []


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    print_blob=True,
    # Shrinking 60 steps takes minutes: add Phase.shrink by hand, with the seed of the run.
    phases=[Phase.generate],
    database=None,  # a run depends on its seed alone
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
