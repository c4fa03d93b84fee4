"""One session for threads."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from kato_consul._flow import Flow
from kato_consul._kato import reads as reading
from kato_consul._kato import writes
from kato_consul._kato.execute import execute, settle
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.sequence_chunks import CHUNK, Progress, observe_chunks
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import SessionFacts, SessionState
from kato_consul._kato.types import (
    CognitionData,
    Event,
    FinalizeResult,
    LearnResult,
    Observation,
    ObservationResult,
    PerceptData,
    Prediction,
    SequenceResult,
    SessionInfo,
)
from kato_consul._sync.fifo_lock import FifoLock

T = TypeVar("T")


class Session:
    """One session of KATO's, under a key of yours. Made by `KatoClient.session`.

    Calls on one session are carried out one at a time, in the order they were made: KATO loses
    observations of a session that has two writers. Calls on different sessions run side by side.
    """

    __slots__ = ("__weakref__", "_factory", "_lock", "_state")

    def __init__(self, of: SessionFactory, state: SessionState) -> None:
        self._factory = of
        self._state = state
        self._lock = FifoLock()

    @property
    def key(self) -> str:
        """Your key."""
        return self._state.key

    @property
    def id(self) -> str | None:
        """KATO's id; None until opened. It changes if the session had to be reopened."""
        return self._state.id

    @property
    def facts(self) -> SessionFacts:
        """What became of this session so far: counter, instance, failovers, repairs, ..."""
        return self._state.facts()

    def observe(
        self,
        strings: Iterable[str] | None = None,
        vectors: Iterable[Iterable[float]] | None = None,
        emotives: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ObservationResult:
        """Observe one event, exactly once.

        Raises:
            ValidationFailed: KATO does not take it.
            OutcomeUnknown: whether it was applied could not be found out before the deadline.
            SessionConflict: somebody else writes to this session.
            KatoConsulError: it was not applied, for the reason that the error gives.
        """
        return self._write(writes.observe(writes.observation(strings, vectors, emotives, metadata)))

    def observe_sequence(
        self,
        events: Iterable[Observation | Sequence[str]],
        *,
        learn_after_each: bool = False,
        learn_at_end: bool = False,
        clear_stm_between: bool = False,
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> SequenceResult:
        """Observe a sequence of any length, exactly once; a list of strings is one event.

        It goes out in chunks of at most ``chunk`` events, each of which is applied whole or not at
        all; ``progress`` is told after each (applied so far, in all). Raises like `observe`; the
        error tells in ``applied`` how many events are in for certain. To go on after an
        `OutcomeUnknown`, call `settle`: if it returns True, that chunk is in as well.

        ``clear_stm_between`` forgets before each event; between chunks that sets the counter to 0.
        """
        return self._run(
            partial(
                observe_chunks,
                observations=writes.observations(events),
                chunk=chunk,
                learn_after_each=learn_after_each,
                learn_at_end=learn_at_end,
                clear_stm_between=clear_stm_between,
                progress=progress,
            )
        )

    def learn(self) -> LearnResult:
        """Learn the short-term memory as a pattern, once, and empty it.

        Raises:
            BadRequest: the short-term memory is empty.
            OutcomeUnknown, SessionConflict, KatoConsulError: as `observe`.
        """
        return self._write(writes.learn())

    def clear_stm(self) -> None:
        """Empty the short-term memory and set the counter to 0."""
        self._write(writes.clear_stm())

    def clear_all(self) -> None:
        """Empty the short-term memory and forget all that the session's node has learned."""
        self._write(writes.clear_all())

    def settle(self) -> bool | None:
        """Find out what became of a call that ended without an outcome.

        True: it was applied. False: it was not, and will not be. None: nothing was open.
        """
        return self._run(settle)

    def predictions(self) -> list[Prediction]:
        """What KATO predicts from the short-term memory, best first."""
        return self._run(reading.predictions)

    def stm(self) -> list[Event]:
        """The events of the short-term memory, oldest first, checked against the journal."""
        return self._run(reading.stm)

    def percept_data(self) -> PerceptData:
        """The last observation, as KATO took it."""
        return self._run(reading.percept_data)

    def cognition_data(self) -> CognitionData:
        """What the session has in mind: predictions, emotives, memory, and the counter."""
        return self._run(reading.cognition_data)

    def info(self) -> SessionInfo:
        """What KATO knows of the session: node, times, metadata, configuration."""
        return self._run(reading.info)

    def exists(self) -> bool:
        """Does KATO have the session? This does not prolong it, nor open one."""
        return self._run(reading.exists)

    def config(self) -> dict[str, Any]:
        """The session's configuration, defaults included."""
        return self._run(reading.config)

    def set_config(self, **values: Any) -> None:
        """Change the session's configuration; it is kept when the session has to be reopened.

        Raises:
            BadRequest: KATO does not take a value; ``detail`` says which and why.
        """
        self._write(writes.set_config(values))
        self._state.config = {**self._state.config, **values}

    def extend(self, ttl_seconds: int) -> None:
        """Let the session live this long from now; until its next write, which sets its own TTL."""
        self._write(writes.extend(ttl_seconds))

    def finalize_training(self) -> FinalizeResult:
        """Compute the measures of all patterns of the session's node; it may take long."""
        return self._run(reading.finalize_training)

    def delete(self) -> None:
        """Delete KATO's session. The next call would open a new one."""
        self._run(reading.delete)

    def _write(self, write: writes.Write[T]) -> T:
        return self._run(partial(execute, write=write))

    def _run(self, flow: Callable[[KatoApi, SessionState, float], Flow[T]]) -> T:
        of = self._factory
        of.require_own_process()  # before the turn, which a thread of the parent's may hold forever
        with self._lock:
            made: T = of.run(flow(of.api, self._state, of.deadline()))
            return made
