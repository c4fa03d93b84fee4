"""One session on asyncio."""

import asyncio
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

T = TypeVar("T")


class AsyncSession:
    """One session of KATO's, under a key of yours. Made by `AsyncKatoClient.session`.

    Calls on one session are carried out one at a time, in the order they were made: KATO loses
    observations of a session that has two writers. Calls on different sessions run side by side.
    """

    __slots__ = ("__weakref__", "_factory", "_lock", "_state")

    def __init__(self, of: SessionFactory, state: SessionState) -> None:
        self._factory = of
        self._state = state
        self._lock = asyncio.Lock()  # gives itself in the order it was asked for

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

    async def observe(
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
        return await self._write(
            writes.observe(writes.observation(strings, vectors, emotives, metadata))
        )

    async def observe_sequence(
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
        return await self._run(
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

    async def learn(self) -> LearnResult:
        """Learn the short-term memory as a pattern, once, and empty it.

        Raises:
            BadRequest: the short-term memory is empty.
            OutcomeUnknown, SessionConflict, KatoConsulError: as `observe`.
        """
        return await self._write(writes.learn())

    async def clear_stm(self) -> None:
        """Empty the short-term memory and set the counter to 0."""
        await self._write(writes.clear_stm())

    async def clear_all(self) -> None:
        """Empty the short-term memory and forget all that the session's node has learned."""
        await self._write(writes.clear_all())

    async def settle(self) -> bool | None:
        """Find out what became of a call that ended without an outcome.

        True: it was applied. False: it was not, and will not be. None: nothing was open.
        """
        return await self._run(settle)

    async def predictions(self) -> list[Prediction]:
        """What KATO predicts from the short-term memory, best first."""
        return await self._run(reading.predictions)

    async def stm(self) -> list[Event]:
        """The events of the short-term memory, oldest first, checked against the journal."""
        return await self._run(reading.stm)

    async def percept_data(self) -> PerceptData:
        """The last observation, as KATO took it."""
        return await self._run(reading.percept_data)

    async def cognition_data(self) -> CognitionData:
        """What the session has in mind: predictions, emotives, memory, and the counter."""
        return await self._run(reading.cognition_data)

    async def info(self) -> SessionInfo:
        """What KATO knows of the session: node, times, metadata, configuration."""
        return await self._run(reading.info)

    async def exists(self) -> bool:
        """Does KATO have the session? This does not prolong it, nor open one."""
        return await self._run(reading.exists)

    async def config(self) -> dict[str, Any]:
        """The session's configuration, defaults included."""
        return await self._run(reading.config)

    async def set_config(self, **values: Any) -> None:
        """Change the session's configuration; it is kept when the session has to be reopened.

        Raises:
            BadRequest: KATO does not take a value; ``detail`` says which and why.
        """
        await self._write(writes.set_config(values))
        self._state.config = {**self._state.config, **values}

    async def extend(self, ttl_seconds: int) -> None:
        """Let the session live this long from now; until its next write, which sets its own TTL."""
        await self._write(writes.extend(ttl_seconds))

    async def finalize_training(self) -> FinalizeResult:
        """Compute the measures of all patterns of the session's node; it may take long."""
        return await self._run(reading.finalize_training)

    async def delete(self) -> None:
        """Delete KATO's session. The next call would open a new one."""
        await self._run(reading.delete)

    async def _write(self, write: writes.Write[T]) -> T:
        return await self._run(partial(execute, write=write))

    async def _run(self, flow: Callable[[KatoApi, SessionState, float], Flow[T]]) -> T:
        async with self._lock:
            of = self._factory
            made: T = await of.run(flow(of.api, self._state, of.deadline()))
            return made
