"""One session of the KATO API, on asyncio."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from kato_consul._async.session_turn import SessionTurn
from kato_consul._kato import configuration, observations, reads, repeatable, writes
from kato_consul._kato.execute import execute_write, settle_call
from kato_consul._kato.ownership import CallFlow
from kato_consul._kato.repeated_calls import position_of
from kato_consul._kato.sequence_chunks import CHUNK_SIZE, Progress
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
from kato_consul._kato.write import Write
from kato_consul.errors import KatoConsulError, naming
from kato_consul.models import Position

T = TypeVar("T")


class AsyncSession:
    """One session, identified by a key of the caller. Returned by `AsyncKatoClient.session`.

    Calls on one session are carried out one at a time, in the order they were made: KATO loses
    observations of a session that has two writers at the same time. The wait for earlier calls is
    part of a call's deadline. Calls on different sessions run concurrently.

    Every call may raise a `KatoConsulError`. If its ``sent`` is False, nothing was applied. The
    guarantees of the calls that change the session are in docs/guarantees.md.
    """

    __slots__ = ("__weakref__", "_state", "_turn")

    def __init__(self, factory: SessionFactory, state: SessionState) -> None:
        self._state = state
        self._turn = SessionTurn(factory, state)

    def __repr__(self) -> str:
        state = self._state
        return f"<{type(self).__name__} {state.key!r} node={state.node_id!r} id={state.id!r}>"

    @property
    def key(self) -> str:
        """The caller's key."""
        return self._state.key

    @property
    def id(self) -> str | None:
        """KATO's id; None until the session is opened. A reopened session gets a new id."""
        return self._state.id

    @property
    def facts(self) -> SessionFacts:
        """Counters and state of this session: instance, failovers, settlements, repairs."""
        return self._state.facts()

    async def observe(
        self,
        strings: Iterable[str] | None = None,
        vectors: Iterable[Iterable[float]] | None = None,
        emotives: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        position: Position | None = None,
    ) -> ObservationResult:
        """Observe one event, exactly once.

        Args:
            strings: the event's symbols, in any order; KATO returns them sorted.
            vectors: vectors of equal length, shape (count, length). KATO adds them to one vector
                and stores its symbol with those of the nearest vectors that the node has. The
                first vector of a node fixes the length for all later ones.
            emotives: a number for each name, such as ``{"utility": 0.7}``. KATO accepts any number;
                its documentation uses -1.0 to 1.0.
            metadata: a JSON object. A learned pattern keeps the distinct values of each key.
            idempotency_key: a text of 1 to 255 characters, different for each call. A call that is
                made again with the same key, in this process or another, is not applied again, and
                is answered the same; the last 32 of a session are known.
            position: the place of the message in a log that this call is made for. At or before the
                last one applied, it is not applied again. If a message cannot be applied, go on
                with the next one: it then counts as passed over.

        An observation without strings and vectors increments the counter and adds no event.

        Raises:
            ValidationFailed: KATO refuses the observation.
            IdempotencyKeyReused: the key was used for another call.
            ConfigurationError: another process has read the log on: call `position` first.
            OutcomeUnknown: whether it was applied could not be determined before the deadline.
            SessionConflict: another client writes to this session.
            KatoConsulError: it was not applied, for the reason that the error gives.
        """
        with naming("observe"):
            observation = observations.observation(strings, vectors, emotives, metadata)
            flow = repeatable.observe(observation, idempotency_key, position)
        return await self._run("observe", flow)

    async def observe_sequence(
        self,
        events: Iterable[Observation | Sequence[str]],
        *,
        learn_after_each: bool = False,
        learn_at_end: bool = False,
        clear_stm_between: bool = False,
        chunk: int = CHUNK_SIZE,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
        position: Position | None = None,
    ) -> SequenceResult:
        """Observe a sequence of any length, exactly once.

        The sequence is sent in chunks, each of which is applied as a whole or not at all.

        Args:
            events: an `Observation` each, or a list of strings.
            learn_after_each: learn after each event.
            learn_at_end: learn after the last event.
            clear_stm_between: clear the short-term memory before each event but the first;
                between chunks this also sets the counter to 0.
            chunk: events in one request, 1 or more.
            progress: called after each chunk with the events applied so far and in all; a plain
                function, not an async one. It may use the session: on threads at once, on asyncio
                in a task, which has the next turn.
            idempotency_key, position: as for `observe`. A call that is made again goes on with what
                is not applied.

        Raises:
            ConfigurationError: ``progress`` is async: it would never be awaited.
            The errors of `observe`. Their ``applied`` is the number of events that are certainly
            applied. To continue after an `OutcomeUnknown`, call `settle`: if it returns True, that
            chunk is applied as well.
        """
        with naming("observe_sequence"):
            flow = repeatable.observe_sequence(
                observations.observations(events),
                idempotency_key,
                position,
                chunk=chunk,
                learn_after_each=learn_after_each,
                learn_at_end=learn_at_end,
                clear_stm_between=clear_stm_between,
                progress=progress,
            )
        return await self._run("observe_sequence", flow)

    async def learn(
        self, *, idempotency_key: str | None = None, position: Position | None = None
    ) -> LearnResult:
        """Learn the short-term memory as a pattern, once, and empty it.

        Args:
            idempotency_key, position: as for `observe`.

        Returns:
            KATO's response. Its ``pattern_name`` is "" if the memory had a single symbol: KATO
            empties it, and learns nothing.

        Raises:
            BadRequest: the short-term memory is empty.
            OutcomeUnknown, SessionConflict, KatoConsulError: as for `observe`.
        """
        with naming("learn"):
            flow = repeatable.learn(idempotency_key, position)
        return await self._run("learn", flow)

    async def clear_stm(self) -> None:
        """Empty the short-term memory and set the counter to 0."""
        await self._write("clear_stm", writes.clear_stm())

    async def clear_all(self) -> None:
        """Empty the short-term memory and delete everything that the session's node has
        learned."""
        await self._write("clear_all", writes.clear_all())

    async def settle(self) -> bool | None:
        """Determine the outcome of a call that ended without one.

        Returns:
            True if it was applied; False if it was not and will not be; None if no outcome is
            open.
        """
        return await self._run("settle", settle_call)

    async def position(self, log: str | None = None) -> Position | None:
        """Return how far a log is applied to the session: go on reading it after that message.

        Messages after it may be applied as well: they are passed over when they are given again, in
        the same order and with the same observations. Calls without a position are not passed over.
        A directory has the position then: the log need not keep the messages up to it.

        Args:
            log: the log's name; the one used last unless given.

        Returns:
            The position of the last message applied; None if there was none.
        """
        return await self._run("position", partial(position_of, log=log))

    async def predictions(self) -> list[Prediction]:
        """Return what KATO predicts from the short-term memory, the best prediction first."""
        return await self._run("predictions", reads.predictions)

    async def stm(self) -> list[Event]:
        """Return the events of the short-term memory, oldest first, checked against the journal."""
        return await self._run("stm", reads.stm)

    async def percept_data(self) -> PerceptData:
        """Return the last observation, as KATO stored it."""
        return await self._run("percept_data", reads.percept_data)

    async def cognition_data(self) -> CognitionData:
        """Return the session's predictions, emotives, short-term memory and counter.

        If KATO computes predictions with each observation (``process_predictions``), they are those
        of the last observation. Otherwise they are those of `predictions`, at the cost of a second
        request.
        """
        return await self._run("cognition_data", reads.cognition_data)

    async def info(self) -> SessionInfo:
        """Return the session's node, times, metadata and configuration."""
        return await self._run("info", reads.info)

    async def exists(self) -> bool:
        """Return whether KATO has the session. This neither opens it nor extends its TTL."""
        return await self._run("exists", reads.exists)

    async def config(self) -> dict[str, Any]:
        """Return the session's configuration, defaults included."""
        return await self._run("config", reads.config)

    async def set_config(self, **values: Any) -> None:
        """Change the session's configuration; a session that is reopened has it again.

        Args:
            values: KATO's names and values, such as ``max_pattern_length=5``. The cost of
                ``process_predictions=True`` is described in `AsyncKatoClient.session`.

        Raises:
            BadRequest: KATO refuses a value; ``detail`` names it and the reason.
        """
        await self._run("set_config", partial(configuration.set_config, values=values))

    async def extend(self, ttl_seconds: int) -> None:
        """Set how long KATO keeps the session; its next write sets its own TTL again.

        Args:
            ttl_seconds: whole seconds from now, above 0.
        """
        with naming("extend"):
            write = writes.extend(ttl_seconds)
        await self._write("extend", write)

    async def finalize_training(self) -> FinalizeResult:
        """Compute the measures of all patterns of the session's node, which may take long."""
        return await self._run("finalize_training", reads.finalize_training)

    async def delete(self) -> None:
        """Delete KATO's session. The next call opens a new one."""
        await self._run("delete", reads.delete)

    async def _write(self, call: str, write: Write[T]) -> T:
        return await self._run(call, partial(execute_write, write=write))

    async def _run(self, call: str, flow: CallFlow[T], deadline: float | None = None) -> T:
        with naming(call):
            try:
                return await self._turn.run(flow, deadline)
            except KatoConsulError:
                if self._state.refused is not None:
                    self._turn.factory.let_go(self._state)
                raise
