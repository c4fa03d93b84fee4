"""Driver: carries out the steps of flows on asyncio."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kato_consul._async.engines import engine_for
from kato_consul._flow import Flow, Hedge, Hedged, Outcome, Reply, Send, Sleep, Step, WaitForChange
from kato_consul._http.endpoint import tls_context
from kato_consul._libraries import load_libraries
from kato_consul._logging import logger
from kato_consul.errors import ClientClosed
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
        on_closed_origin: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """``on_closed_origin`` is called with each origin whose connections are closed."""
        self._on_closed_origin = on_closed_origin
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._process: int | None = None
        load_libraries()
        self._engine = engine_for(settings, tls_context(settings))

    async def run(self, flow: Flow[T], send: SendRequest | None = None) -> T:
        """Run a flow to its end. If cancelled, it is closed and sends nothing more.

        ``send``, if given, sends the requests instead of the engine.
        """
        self._check_usable()
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._carry_out(step, send or self._engine.send))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def start(self, flow: Flow[Any], name: str) -> "asyncio.Task[Any]":
        """Run a flow in the background, at most until the driver is closed."""
        self._check_usable()
        task = asyncio.create_task(self._run_in_background(flow, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """End background flows and close every connection. Calls in flight fail as cut."""
        self._closed = True
        if self._process not in (None, os.getpid()):
            return  # the loop is the parent's, and even its epoll is shared with this process
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task  # its error is logged already
        await self._engine.close()

    async def _run_in_background(self, flow: Flow[Any], name: str) -> None:
        try:
            await self.run(flow)
        except Exception:
            log.exception("background.crashed", name=name)  # the task may never be awaited
            raise

    async def _carry_out(self, step: Step, send: SendRequest) -> Outcome | Hedged | None:
        if isinstance(step, Send):
            self._check_open()
            return await send(step)
        if isinstance(step, Hedge):
            return await self._hedge(step)
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, WaitForChange):
            await self._wait_for_change(step)
        else:
            await self._engine.close_origin(step.origin)
            if self._on_closed_origin is not None:
                await self._on_closed_origin(step.origin)
        return None

    async def _send(self, step: Send) -> Outcome:
        self._check_open()
        return await self._engine.send(step)

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

    async def _wait_for_change(self, step: WaitForChange) -> None:
        changed = asyncio.Event()
        with step.observable.listening(changed.set), contextlib.suppress(TimeoutError):
            if step.observable.current is step.seen:
                async with asyncio.timeout(step.timeout):
                    await changed.wait()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this client is closed; create a new one")

    def _check_usable(self) -> None:
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
