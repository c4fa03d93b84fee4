"""Property test of calls with idempotency keys and positions, made by two processes.

A log is read by a process that asks where to go on, is killed, is stopped and goes on, or loses the
session to another one. Keyed calls are made again anywhere. Each message is applied once and in
order, and each keyed call at most once.
"""

from collections import Counter
from functools import partial
from typing import Any

from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from kato_consul._flow import Send
from kato_consul._kato import reads as reading
from kato_consul._kato import repeatable, writes
from kato_consul._kato.execute import execute_write, settle_call
from kato_consul._kato.journal import Journal
from kato_consul._kato.log_positions import READ_AGAIN
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.repeated_calls import position_of
from kato_consul.errors import (
    BadRequest,
    ConfigurationError,
    KatoConsulError,
    OutcomeUnknown,
    SessionConflict,
    ValidationFailed,
)
from kato_consul.models import Position
from tests.kato.model_kato import Fault
from tests.kato.seeding import SEED
from tests.owning.interleaving import FAULTS, OWNERS, Interleaving, check_error, settings_of
from tests.owning.repeated_world import LOG, KeyedCall, Message, Reader, RefusingKato, log_of
from tests.owning.two_owners import OneOwner

KINDS = ["observe", "observe", "observe", "sequence", "refused", "learn", "lesson"]
MAX_TRIES = 3
"""Calls without an outcome after which a reader goes on with the next message."""


@seed(SEED)
class RepeatedCalls(Interleaving):
    """One session, a log with two readers, and calls with keys.

    A symbol is ``certain`` once its call was acknowledged, and ``absent`` if it was said that it is
    not applied and its call is not made again. ``left_out`` are the offsets of messages without
    which a reader went on: they count as passed over. ``cleared``: it was in a memory that was
    cleared. ``doubtful``: a learn has no outcome, and may be applied late. ``attempts`` are the
    calls that observe a symbol, and did not say that they are not applied.
    """

    def __init__(self) -> None:
        super().__init__(RefusingKato())
        self.calls: list[KeyedCall] = []
        self.readers = [Reader(), Reader()]
        self.certain: set[str] = set()
        self.absent: set[str] = set()
        self.cleared: set[str] = set()
        self.doubtful = False
        self.learns = 0
        self.observed = 0
        self.left_out: set[int] = set()
        self.dead: list[object] = []
        self.attempts: Counter[str] = Counter()

    @initialize(
        keeps=st.booleans(),
        deletes=st.booleans(),
        learns_itself=st.sampled_from([0, 0, 4]),
        kinds=st.lists(st.sampled_from(KINDS), min_size=20, max_size=20),
    )
    def start(self, keeps: bool, deletes: bool, learns_itself: int, kinds: list[str]) -> None:
        """Choose the log, whether entries hold observations, and whether KATO learns by itself."""
        self.learns_itself = learns_itself
        self.log = log_of(kinds)
        self.create_owners(keeps, deletes)
        for owner in self.owners:
            self._configure(owner)

    def _configure(self, owner: OneOwner) -> None:
        if self.learns_itself:
            owner.state.journal = Journal({"max_pattern_length": self.learns_itself})

    @rule(who=OWNERS, faults=FAULTS)
    def read_log(self, who: int, faults: list[Fault]) -> None:
        """Begin to apply the next message, or to ask which one that is."""
        owner, reader = self.owners[who], self.readers[who]
        if owner.running is not None:
            return
        self.kato.faults = faults
        if reader.next is None:
            owner.call(partial(position_of, log=LOG), partial(self._told, reader))
        elif reader.next < len(self.log):
            message = self.log[reader.next]
            self.learns += message.kind in ("learn", "lesson")
            self.attempts.update(message.symbols)
            owner.call(self._flow_of(message), partial(self._read, reader, message))

    def _flow_of(self, message: Message) -> CallFlow[Any]:
        position = Position(LOG, 0, message.offset)
        if message.kind == "learn":
            return repeatable.learn(None, position)
        if message.kind in ("sequence", "lesson"):
            return repeatable.observe_sequence(
                message.observations,
                None,
                position,
                chunk=2,
                learn_after_each=False,
                learn_at_end=message.kind == "lesson",
                clear_stm_between=False,
                progress=None,
            )
        return repeatable.observe(message.observations[0], None, position)

    def _told(self, reader: Reader, position: Any, error: BaseException | None) -> None:
        if error is None:
            at = -1 if position is None else position.offset
            reader.next = sum(message.offset <= at for message in self.log)
        else:
            check_error(error)

    def _read(
        self, reader: Reader, message: Message, result: Any, error: BaseException | None
    ) -> None:
        if _says_not_applied(error):
            self.attempts.subtract(message.symbols)
        if error is None:
            if message.offset not in self.left_out:
                self.certain |= set(message.symbols)
            self._go_on(reader, message)
        elif isinstance(error, ConfigurationError):
            assert str(error) == READ_AGAIN
            reader.next = None
        elif isinstance(error, ValidationFailed | BadRequest):
            self.left_out.add(message.offset)
            self._go_on(reader, message)
        elif isinstance(error, OutcomeUnknown):
            reader.tries += 1
            self._doubt(message)
            if reader.tries >= MAX_TRIES:
                self.left_out.add(message.offset)
                self._go_on(reader, message)
        else:
            self._doubt(message)
            check_error(error)

    def _go_on(self, reader: Reader, message: Message) -> None:
        assert reader.next is None or self.log[reader.next] is message
        reader.next, reader.tries = self.log.index(message) + 1, 0

    def _doubt(self, message: Message) -> None:
        self.doubtful |= bool(self.learns_itself) or message.kind in ("learn", "lesson")

    @rule(who=OWNERS, learns=st.sampled_from([False, False, True]), faults=FAULTS)
    def call(self, who: int, learns: bool, faults: list[Fault]) -> None:
        """Begin a call with a new key."""
        number = len(self.calls)
        self.calls.append(KeyedCall(f"key {number}", "" if learns else f"k{number:03}"))
        self.learns += learns
        self.repeat(who, number, faults)

    @precondition(lambda self: self.calls)
    @rule(who=OWNERS, number=st.integers(0, 1_000), faults=FAULTS)
    def repeat(self, who: int, number: int, faults: list[Fault]) -> None:
        """Make one of the last keyed calls again."""
        owner = self.owners[who]
        if owner.running is not None:
            return
        self.kato.faults = faults
        call = self.calls[-20:][number % len(self.calls[-20:])]
        if call.symbol:
            self.attempts[call.symbol] += 1
            flow = repeatable.observe({"strings": [call.symbol]}, call.key, None)
            owner.call(flow, partial(self._called, call))
        elif call.clears:
            owner.call(repeatable.clear(writes.clear_stm(), call.key), self._cleared_again)
        else:
            owner.call(repeatable.learn(call.key, None), partial(self._called, call))

    def _cleared_again(self, result: Any, error: BaseException | None) -> None:
        if error is not None:
            check_error(error)

    def _called(self, call: KeyedCall, result: Any, error: BaseException | None) -> None:
        if error is not None:
            if call.symbol and _says_not_applied(error):
                self.attempts[call.symbol] -= 1
            self.doubtful |= not call.symbol or bool(self.learns_itself)
            if not isinstance(error, BadRequest):
                check_error(error)
            return
        if call.answer is None:
            call.answer = result
        if call.symbol:
            self.certain.add(call.symbol)
            assert result["time"] == call.answer["time"], (call, result)
            assert result["stm_length"] == call.answer["stm_length"], (call, result)
        elif call.answer["pattern_name"]:
            assert result["pattern_name"] == call.answer["pattern_name"], (call, result)

    @rule(who=OWNERS, faults=FAULTS)
    def observe(self, who: int, faults: list[Fault]) -> None:
        """Begin a call without a key or a position."""
        owner = self.owners[who]
        if owner.running is not None:
            return
        self.kato.faults = faults
        symbol = f"p{self.observed:03}"
        self.observed += 1

        def done(result: Any, error: BaseException | None) -> None:
            if error is None:
                self.certain.add(symbol)
            else:
                self.doubtful |= bool(self.learns_itself)
                check_error(error)
                if isinstance(error, KatoConsulError) and error.sent is False:
                    self.absent.add(symbol)

        owner.call(partial(execute_write, write=writes.observe({"strings": [symbol]})), done)

    @rule(who=OWNERS, times=st.integers(1, 6))
    def read_on(self, who: int, times: int) -> None:
        """Apply several messages."""
        for _ in range(times):
            self.read_log(who, [])
            self.finish(who)

    @rule(
        who=OWNERS, steps=st.integers(0, 12), faults=FAULTS, read=st.booleans(), lands=st.booleans()
    )
    def cancel(self, who: int, steps: int, faults: list[Fault], read: bool, lands: bool) -> None:
        """Begin a call, and cancel it."""
        (self.read_log if read else partial(self.call, learns=False))(who=who, faults=faults)
        self.step(who, steps)
        if self.owners[who].running is not None:
            self._sent(self.owners[who].cancel(), lands)

    def _sent(self, request: Send | None, lands: bool) -> None:
        """Apply a request of a call that has ended, or let it be applied later."""
        if request is None:
            return
        if lands:
            self.kato.answer(request)
        else:
            self.sent.append(request)

    @rule(
        who=OWNERS,
        steps=st.integers(0, 25),
        faults=FAULTS,
        what=st.integers(0, 2),
        lands=st.booleans(),
    )
    def kill(self, who: int, steps: int, faults: list[Fault], what: int, lands: bool) -> None:
        """Kill a process in the middle of a call. Another takes its place, and reads the log."""
        if what == 0:
            self.read_log(who, faults)
        elif what == 1:
            self.call(who, False, faults)
        self.step(who, steps)
        owner = self.owners[who]
        if owner.running is not None:
            self.dead.append(owner.running.flow)
            step, owner.running = owner.running.step, None
            self.doubtful = True
            self._sent(step if isinstance(step, Send) else None, lands)
        self.store.expire(owner.name)
        owner.forget()
        self._configure(owner)
        self.readers[who] = Reader()

    @rule(who=OWNERS, steps=st.integers(1, 25), faults=FAULTS, keyed=st.booleans())
    def overtake(self, who: int, steps: int, faults: list[Fault], keyed: bool) -> None:
        """Stop a process in the middle of a call; the other reads on, or makes that call. Then the
        first goes on."""
        if keyed:
            self.call(who, False, faults)
        else:
            self.read_log(who, faults)
        self.step(who, steps)
        self.store.expire(self.owners[who].name)
        other = self.owners[1 - who]
        other.finish([])
        if keyed:
            self.repeat(1 - who, len(self.calls[-20:]) - 1, [])
        else:
            self.read_log(1 - who, [])
        other.finish([])

    @rule(who=OWNERS, keyed=st.booleans())
    def clear(self, who: int, keyed: bool) -> None:
        """Clear the memory, with one process alone; ``keyed``: a repetition clears nothing."""
        self._finish_all()

        def done(result: Any, error: BaseException | None) -> None:
            assert error is None, error
            self.cleared |= {symbol for event in memory for symbol in event}

        memory: list[list[str]] = []
        self.owners[who].call(reading.stm, lambda result, error: memory.extend(result))
        self.finish(who)
        key = f"key {len(self.calls)}" if keyed else None
        self.owners[who].call(repeatable.clear(writes.clear_stm(), key), done)
        self.finish(who)
        if key is not None:
            self.calls.append(KeyedCall(key, clears=True))

    @rule(who=OWNERS)
    def compare(self, who: int) -> None:
        """Read the memory, and compare it with what was acknowledged."""
        self._finish_all()

        def done(result: Any, error: BaseException | None) -> None:
            assert error is None, error
            self._compare(result)

        self.owners[who].call(reading.stm, done)
        self.finish(who)

    def _finish_all(self) -> None:
        self.kato.faults = []
        self.store.down = False
        self.finish_both()
        for owner in self.owners:
            owner.call(settle_call, lambda result, error: None)
            self.finish_both()

    def teardown(self) -> None:
        """Read the log to its end, make each keyed call again, and compare."""
        if not self.owners:
            return
        self._finish_all()
        for _ in range(10 * len(self.log)):
            self.read_on(0, 1)
        assert self.readers[0].next == len(self.log), self.readers[0]
        for number in range(len(self.calls[-20:])):
            self.repeat(0, number, [])
            self.finish(0)
        self.compare(0)

    def _compare(self, stm: list[list[str]]) -> None:
        memory = [symbol for event in stm for symbol in event]
        patterns = [[one for event in pattern for one in event] for pattern in self.kato.patterns]
        learned = [symbol for pattern in patterns for symbol in pattern]
        assert len(memory) == len(set(memory)), f"twice: {memory}"
        if not self.doubtful:
            assert not set(memory) & set(learned), f"learned, and still there: {memory} {learned}"
            assert len(learned) == len(set(learned)), f"learned twice: {learned}"
        assert not (wrong := self.cleared & set(memory)), f"applied again: {wrong}"
        if not self.learns_itself:
            assert self.kato.patterns.total() <= self.learns
        lost = self.certain - set(memory) - set(learned) - self.cleared
        assert not lost, f"lost: {sorted(lost)} of {memory}, learned {learned}"
        absent = self.absent | {symbol for symbol, open_ in self.attempts.items() if not open_}
        assert not (wrong := absent & {*memory, *learned}), f"not applied: {wrong}"
        for events in (memory, *patterns):
            of_log = [symbol for symbol in events if symbol.startswith("m")]
            assert of_log == sorted(of_log), f"out of order: {of_log}"


def _says_not_applied(error: BaseException | None) -> bool:
    """Return whether an error says that nothing of its call is applied."""
    if not isinstance(error, KatoConsulError) or error.applied:
        return False
    return not isinstance(error, OutcomeUnknown | SessionConflict)


TestRepeatedCalls = RepeatedCalls.TestCase
TestRepeatedCalls.settings = settings_of(steps=50)
