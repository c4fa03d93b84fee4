"""Property test of two owners of one session against the models of KATO and of a directory.

Their flows are interleaved at any step: hand-overs, leases that end while a request is on its way,
takeovers that are overtaken, with the faults of KATO. What was acknowledged is in the memory or in
one pattern, once; each owner's own order is kept; what is reported as not applied is not there.
"""

from functools import partial
from typing import Any

from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute_write, settle_call
from kato_consul._kato.learning import learn
from kato_consul._kato.types import Observation
from kato_consul.errors import OutcomeUnknown
from tests.kato.model_kato import Fault, ModelKato
from tests.kato.seeding import SEED
from tests.owning.interleaving import FAULTS, OWNERS, Interleaving, check_error, settings_of
from tests.owning.two_owners import KEY

LANDS = st.sampled_from(["never", "now", "later"])
"""When the request of a cancelled call is applied."""


@seed(SEED)
class Owners(Interleaving):
    """One session, two owners that observe unique symbols.

    A symbol is ``certain`` once its call was acknowledged, ``maybe`` while this is not known, and
    ``absent`` if the call said that it was not applied. ``learnable``: it was in a memory that may
    have been learned, ``learned``: in one that was.
    """

    def __init__(self) -> None:
        super().__init__(ModelKato())
        self.symbols_used = 0
        self.certain: set[str] = set()
        self.maybe: set[str] = set()
        self.absent: set[str] = set()
        self.learnable: set[str] = set()
        self.learned: set[str] = set()
        self.asked = 0
        self.before: dict[str, set[str]] = {}
        self.symbols: dict[int, str] = {}
        self.lessons: dict[int, set[str]] = {}
        self.kept: list[object] = []  # so that no other write gets their id

    @initialize(keeps=st.booleans(), deletes=st.booleans())
    def start(self, keeps: bool, deletes: bool) -> None:
        """Choose whether entries hold the observations, and whether KATO deletes sessions."""
        self.create_owners(keeps, deletes)

    @rule(who=OWNERS, faults=FAULTS)
    def observe(self, who: int, faults: list[Fault]) -> None:
        """Begin to observe a symbol."""
        owner = self.owners[who]
        if owner.running is not None:
            return
        self.kato.faults = faults
        symbol = f"s{self.symbols_used:05}"
        self.symbols_used += 1
        self.before[symbol] = set(self.certain)
        self.maybe.add(symbol)
        observation: Observation = {"strings": [symbol]}

        def done(result: Any, error: BaseException | None) -> None:
            check_error(error)
            if error is None:
                self._acknowledged(symbol)
            elif isinstance(error, OutcomeUnknown | GeneratorExit):
                self.symbols[id(write)] = symbol
                self.kept.append(write)
            else:
                self._not_applied(symbol)

        write = writes.observe(observation)
        owner.call(partial(execute_write, write=write), done)

    @rule(who=OWNERS, faults=FAULTS)
    def learn(self, who: int, faults: list[Fault]) -> None:
        """Begin to learn the memory."""
        owner = self.owners[who]
        if owner.running is not None:
            return
        self.kato.faults = faults
        self.asked += 1
        self.learnable |= self.certain | self.maybe
        lesson = set(self.certain)

        def done(result: Any, error: BaseException | None) -> None:
            check_error(error)
            self.learnable |= self.certain | self.maybe
            write = owner.state.pending
            if error is None:
                self.learned |= lesson
            elif write is not None and write.is_learn:
                self.lessons.setdefault(id(write), lesson)
                self.kept.append(write)

        owner.call(learn, done)

    @rule(who=OWNERS)
    def settle(self, who: int) -> None:
        """Begin to settle a call that ended without an outcome."""
        owner = self.owners[who]
        if owner.running is not None:
            return
        symbol = self.symbols.get(id(owner.state.pending))
        lesson = self.lessons.get(id(owner.state.pending), set())

        def done(result: Any, error: BaseException | None) -> None:
            check_error(error)
            if symbol is not None and result is not None:
                (self._acknowledged if result else self._not_applied)(symbol)
            elif result:
                self.learned |= lesson

        owner.call(settle_call, done)

    @rule(who=OWNERS)
    def read(self, who: int) -> None:
        """Begin to read the memory."""
        if self.owners[who].running is not None:
            return

        def done(result: Any, error: BaseException | None) -> None:
            check_error(error)
            if error is None:  # also what was acknowledged while it read
                self._compare(result)

        self.owners[who].call(reading.stm, done)

    @rule(
        who=OWNERS,
        steps=st.integers(1, 12),
        learns=st.booleans(),
        faults=FAULTS,
        lands=LANDS,
        then=st.sampled_from(["", "lost", "taken over", "handed over"]),
    )
    def cancel(
        self, who: int, steps: int, learns: bool, faults: list[Fault], lands: str, then: str
    ) -> None:
        """Cancel an owner's call. Then its lease ends, or another owner writes. Then settle it."""
        self._interrupt(who, steps, learns, faults, lands)
        if then in ("lost", "taken over"):
            self.store.expire(self.owners[who].name)
        if then == "taken over":
            self.finish_alone(1 - who)
            self.observe(1 - who, [])
            self.finish_alone(1 - who)
        elif then == "handed over":
            self.finish(1 - who)
            self.observe(1 - who, [])
            self.finish(1 - who)
        self.settle(who)

    def _interrupt(
        self, who: int, steps: int, learns: bool, faults: list[Fault], lands: str
    ) -> None:
        if self.owners[who].running is None:
            (self.learn if learns else self.observe)(who, faults)
        self.step(who, steps)
        if self.owners[who].running is None:
            return
        request = self.owners[who].cancel()
        if request is not None and lands == "now":
            self.kato.answer(request)
        elif request is not None and lands == "later":
            self.sent.append(request)

    @rule(
        who=OWNERS,
        steps=st.integers(0, 25),
        what=st.sampled_from(["observe", "learn", "settle", "read"]),
        faults=FAULTS,
        times=st.integers(1, 2),
        lands=st.booleans(),
        goes_on=st.booleans(),
    )
    def overtake(
        self,
        who: int,
        steps: int,
        what: str,
        faults: list[Fault],
        times: int,
        lands: bool,
        goes_on: bool,
    ) -> None:
        """Stop an owner in the middle of a call. The other takes over and makes a call, and does so
        ``times``. Then the first goes on. ``lands``: what instances have not applied lands before
        that."""
        if self.owners[who].running is None:
            if what in ("settle", "read"):
                (self.settle if what == "settle" else self.read)(who)
            else:
                (self.learn if what == "learn" else self.observe)(who, faults)
        self.step(who, steps)
        self.store.expire(self.owners[who].name)
        self.finish_alone(1 - who)
        for _ in range(times):
            self.observe(1 - who, [])
            self.finish_alone(1 - who)
            if times > 1:
                self.store.expire(self.owners[1 - who].name)
                self.owners[1 - who].forget()
        if lands:
            self.kato.wake()
            while self.sent:
                self.land()
        if goes_on:
            self.finish(who)

    def finish_alone(self, who: int) -> None:
        """Let one owner end its call while the other is stopped."""
        self.owners[who].finish([])

    @rule(who=OWNERS)
    def clear(self, who: int) -> None:
        """Clear the memory, with one owner alone."""
        self.finish_both()
        self.finish_settling()
        owner = self.owners[who]

        def done(result: Any, error: BaseException | None) -> None:
            assert error is None, error
            self.certain, self.maybe, self.learnable = set(), set(), set()
            self.learned = set()

        write = writes.clear_stm()
        owner.call(partial(execute_write, write=write), done)
        self.finish(who)

    def finish_settling(self) -> None:
        """Let both settle what has no outcome."""
        for who in (0, 1):
            self.settle(who)
            self.finish_both()

    def teardown(self) -> None:
        """Let both end, settle what has no outcome, and read the memory."""
        if not self.owners:
            return
        self.kato.faults = []
        self.store.down = False
        self.finish_both()
        self.finish_settling()
        self.read(0)
        self.finish(0)
        assert self.store.entries.get(KEY) is None or self.store.holders[KEY] == "A"

    def _acknowledged(self, symbol: str) -> None:
        self.maybe.discard(symbol)
        self.certain.add(symbol)

    def _not_applied(self, symbol: str) -> None:
        self.maybe.discard(symbol)
        self.absent.add(symbol)

    def _compare(self, stm: list[list[str]]) -> None:
        assert len(self.kato.patterns) <= self.asked
        assert all(count == 1 for count in self.kato.patterns.values()), self.kato.patterns
        memory = [symbol for event in stm for symbol in event]
        learned = {one for pattern in self.kato.patterns for event in pattern for one in event}
        assert len(memory) == len(set(memory)), f"twice: {memory}"
        lost = self.certain - set(memory) - learned
        assert not lost, f"lost: {lost} of {memory}, learned {learned}"
        wrong = self.absent & (set(memory) | learned)
        assert not wrong, f"said to be not applied: {wrong}"
        twice = set(memory) & learned - self.learnable
        assert not twice, f"learned, and still in the memory: {twice}"
        kept = self.learned & set(memory)
        assert not kept, f"said to be learned, and still in the memory: {kept}"
        assert self.learned <= learned, f"said to be learned: {self.learned - learned}"
        place = {symbol: number for number, symbol in enumerate(memory)}
        for symbol in memory:
            for earlier in self.before[symbol] & set(memory):
                assert place[earlier] < place[symbol], f"{earlier} after {symbol}: {memory}"


TestOwners = Owners.TestCase
TestOwners.settings = settings_of(steps=60)
