"""Driver: carries out the steps of flows on asyncio."""

import asyncio
import contextlib
import os
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kato_consul._async.engines import engine_for
from kato_consul._async.redis_client import AsyncRedisClient
from kato_consul._flow import (
    CLOSE_TIMEOUT,
    Failure,
    Flow,
    Hedge,
    Hedged,
    Outcome,
    RedisCommands,
    RedisOutcome,
    Reply,
    Send,
    Sleep,
    Step,
    WaitForChange,
    cut_by_closing,
    may_have_been_sent,
)
from kato_consul._http.endpoint import Endpoints
from kato_consul._libraries import load_libraries
from kato_consul._logging import logger
from kato_consul._tracing import add_trace_id, background_context
from kato_consul.errors import ClientClosed, KatoConsulError
from kato_consul.settings import Settings

T = TypeVar("T")

SendRequest = Callable[[Send], Awaitable[Outcome]]

log = logger("driver")


class AsyncDriver:
    """Runs flows, on an engine that owns the connections.

    It belongs to the event loop on which it is first used, and to its process.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        owner: object | None = None,
        endpoints: Endpoints | None = None,
        on_closed_origin: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """``owner`` is what users hold: if it is garbage-collected, the driver is closed, and the
        warning names ``owner_name``, its class unless set. ``endpoints`` are those of ``settings``,
        if they exist already.
        ``on_closed_origin`` is called with each origin whose connections are closed."""
        self._on_closed_origin = on_closed_origin
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wakers: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._process: int | None = None
        load_libraries()
        self._engine = engine_for(settings, endpoints or Endpoints(settings))
        self._redis = AsyncRedisClient()
        self.owner_name = type(owner).__name__
        if owner is not None:
            weakref.finalize(owner, self._owner_collected).atexit = False

    async def run(self, flow: Flow[T], send: SendRequest | None = None) -> T:
        """Run a flow to its end. If cancelled, it is closed and sends nothing more.

        ``send``, if given, sends the requests instead of the engine. If the driver is closed
        meanwhile, `ClientClosed` is raised in the flow, which may replace it by another error.
        """
        self.check_usable()
        outcome: Outcome | Hedged | RedisOutcome | None = None
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._carry_out(step, send or self._engine.send)
                except ClientClosed as closed:
                    closed.sent = may_have_been_sent(outcome)
                    flow.throw(closed)
                    raise  # it yielded one more step
                step = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except KatoConsulError as error:
            add_trace_id(error)
            raise
        finally:
            flow.close()

    def start(self, flow: Flow[Any], name: str) -> "asyncio.Task[None]":
        """Run a flow in the background, at most until the driver is closed."""
        return self.start_work(lambda: self.run(flow), name)

    def start_work(self, work: Callable[[], Awaitable[None]], name: str) -> "asyncio.Task[None]":
        """Call ``work`` in the background. It is cancelled when the driver is closed."""
        self.check_usable()

        async def until_closed() -> None:
            try:
                await work()
            except ClientClosed:
                pass  # raised when the driver is closed
            except Exception:
                log.exception("background.crashed", name=name)  # no caller receives it

        task = asyncio.create_task(until_closed(), name=name, context=background_context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def closed(self) -> bool:
        """True once it is closed: it cannot be used any more."""
        return self._closed

    async def aclose(self) -> None:
        """End background flows and close every connection. Calls in flight fail as cut.

        If the caller is cancelled, it is still closed, and the cancellation is raised then. If it
        belongs to another event loop, which is stopped, its tasks and connections end when that
        loop runs again, or is closed; this is not waited for.

        Raises:
            ClientClosed: it belongs to another event loop, which runs.
        """
        self._check_loop_of_close()
        self._closed = True
        if self._process not in (None, os.getpid()):
            return  # the loop is the parent's, and even its epoll is shared with this process
        if self._loop is None or self._loop.is_closed():
            return  # nothing was opened, or no callback of the loop can close it any more
        if self._loop is not asyncio.get_running_loop():
            self._close_when_loop_runs(self._loop)
            return
        closing = asyncio.create_task(self._close())
        cancellation: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError as error:
                cancellation = error
        if cancellation is not None:
            raise cancellation
        await closing

    async def _close(self) -> None:
        for waker in self._wakers:
            waker.set()
        for task in self._tasks:
            task.cancel()
        closing = asyncio.create_task(self._close_connections(), name="connections")
        _, left = await asyncio.wait([*self._tasks, closing], timeout=CLOSE_TIMEOUT)
        if left:
            names = [task.get_name() for task in left]
            log.warning("close.incomplete", seconds=CLOSE_TIMEOUT, still_running=names)
        else:
            await closing

    async def _close_connections(self) -> None:
        await self._redis.close()
        await self._engine.close()

    def _owner_collected(self) -> None:
        """Close the driver: no call can use it any more. (This may run in any thread.)"""
        loop = self._loop
        if self._closed or loop is None or self._process != os.getpid():
            return
        self._close_when_loop_runs(loop)
        message = f"unclosed {self.owner_name}: call 'await aclose()'"
        warnings.warn(message, ResourceWarning, stacklevel=2)

    def _close_when_loop_runs(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: loop.create_task(self.aclose()))

    async def _carry_out(
        self, step: Step, send: SendRequest
    ) -> Outcome | Hedged | RedisOutcome | None:
        if isinstance(step, Send):
            self._check_open()
            outcome = await send(step)
            return cut_by_closing(outcome) if self._closed else outcome
        if isinstance(step, Hedge):
            return await self._hedge(step)
        if isinstance(step, RedisCommands):
            return await self._send_to_redis(step)
        if isinstance(step, Sleep):
            await self._wait(step.seconds, asyncio.Event())
        elif isinstance(step, WaitForChange):
            changed = asyncio.Event()
            with step.observable.listening(changed.set):
                if step.observable.current is step.seen:
                    await self._wait(step.timeout, changed)
        else:
            await self._engine.close_origin(step.origin)
            if self._on_closed_origin is not None:
                await self._on_closed_origin(step.origin)
        self._check_open()
        return None

    async def _wait(self, seconds: float, waker: asyncio.Event) -> None:
        """Wait until ``waker`` is set, at most ``seconds``, and not after the driver is closed."""
        self._check_open()
        self._wakers.add(waker)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waker.wait()
        finally:
            self._wakers.discard(waker)

    async def _send(self, step: Send) -> Outcome:
        self._check_open()
        outcome = await self._engine.send(step)
        return cut_by_closing(outcome) if self._closed else outcome

    async def _send_to_redis(self, step: RedisCommands) -> RedisOutcome:
        self._check_open()
        outcome = await self._redis.send(step)
        if isinstance(outcome, Failure):
            self._check_open()  # cut by `aclose`: not an outage, which the flow would retry
        return outcome

    async def _hedge(self, step: Hedge) -> Hedged:
        first = asyncio.ensure_future(self._send(step.first))
        second: asyncio.Task[Outcome] | None = None
        pending = {first}
        try:
            await asyncio.wait(pending, timeout=step.after)
            if first.done():
                return Hedged(first.result(), None, both_sent=False)
            second = asyncio.ensure_future(self._send(step.second))
            pending.add(second)
            answered = False
            while pending and not answered:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                answered = any(isinstance(task.result(), Reply) for task in done)
            return Hedged(
                first.result() if first.done() else None,
                second.result() if second.done() else None,
                both_sent=True,
            )
        finally:  # the slower one, or both if the caller was cancelled
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def check_usable(self) -> None:
        """Raise `ClientClosed` if the driver is closed, or belongs to another loop or process."""
        self._check_open()
        if self._process not in (None, os.getpid()):
            raise ClientClosed(
                "this client was used before the process forked, and its connections belong to "
                "the parent. Create one client for each process"
            )
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        elif self._loop is not loop:
            raise ClientClosed(
                "this client and its connections belong to another event loop. "
                "Create one client for each loop"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this client is closed; create a new one")

    def _check_loop_of_close(self) -> None:
        loop = self._loop
        if loop in (None, asyncio.get_running_loop()) or self._process != os.getpid():
            return
        assert loop is not None
        if loop.is_running():
            raise ClientClosed("this client belongs to another event loop: close it there")
