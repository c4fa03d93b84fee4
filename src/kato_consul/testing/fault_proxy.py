"""A proxy in front of one instance that does to chosen requests what networks and servers do.

What the faults are, and which request meets one, is in `kato_consul.testing.fault_plan`. Where the
instance itself cuts or refuses, the caller's connection is reset.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from kato_consul.testing.fault_plan import Fault, Plan, no_fault
from kato_consul.testing.http1 import CANNED, GATEWAY, LIMIT, Message, Upstream, read_message, reset
from kato_consul.testing.ports import HOST, free_ports

T = TypeVar("T")

BACKLOG = 1_000  # connections that wait to be taken in
GLANCE = 0.02  # seconds between two looks whether a waiting caller is still there
PATIENCE = 10.0  # seconds for the proxy's own thread to do a small thing


class FaultProxy:
    """Stands at ``url`` on 127.0.0.1 in front of the instance at ``target``; used with `with`.

    ``plan`` may be replaced at any time. ``hang_for`` are the seconds after which a hanging request
    is released, None leaves it to `release`; ``refuse_for`` those that ``CUT_BEFORE`` lasts.
    ``counts`` says how often each fault struck, ``requests`` how many requests there were.
    """

    def __init__(
        self,
        target: str,
        *,
        plan: Plan = no_fault,
        hang_for: float | None = None,
        refuse_for: float = 0.05,
    ) -> None:
        parts = urlsplit(target)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{target!r} is not like http://host:port")
        self._target = (parts.hostname, parts.port)
        self.plan = plan
        self.hang_for = hang_for
        self.refuse_for = refuse_for
        self.host = HOST
        self.port = free_ports(1)[0]  # not one that the kernel gives away while it is closed
        self.counts: Counter[Fault] = Counter()
        self.requests = 0
        self._in_hand = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: socket.socket | None = None
        self._refusals = 0
        self._held: set[asyncio.Event] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=loop.run_forever, name=f"fault proxy {self.port}", daemon=True
        )
        self._thread.start()
        try:
            self._call(self._listen())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._end()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """While the block runs nobody listens: connections are refused, idle ones are closed."""
        self._call(self._refuse())
        try:
            yield
        finally:
            self._call(self._accept_again())

    def release(self) -> None:
        """Let what hangs go on, whether its callers still wait or not."""
        self._call(self._release())

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until no request is in hand: what was released has arrived by then.

        Raises:
            TimeoutError: after ``timeout`` seconds there still was one.
        """
        until = time.monotonic() + timeout
        while self._in_hand:
            if time.monotonic() > until:
                raise TimeoutError(f"the proxy still has {self._in_hand} requests in hand")
            time.sleep(GLANCE)

    # --- everything below runs in the proxy's thread, but for the two that hand over to it --------

    def _call(self, doing: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(PATIENCE)

    def _end(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        # Not asyncio's own server: closed while it takes a connection in, it loses that one.
        self._listener = socket.create_server((self.host, self.port), backlog=BACKLOG)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._take_in, self._listener)

    def _close_port(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _take_in(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # gone again
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._start(self._serve(connection))

    async def _stop(self) -> None:
        self._close_port()
        await asyncio.sleep(0)  # a task that never began would not close its connection
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse(self) -> None:
        self._refusals += 1
        self._close_port()
        for writer in self._idle:
            writer.close()

    async def _accept_again(self) -> None:
        self._refusals -= 1
        if not self._refusals:
            await self._listen()

    async def _release(self) -> None:
        for held in self._held:
            held.set()

    def _start(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=LIMIT)
        except BaseException:
            connection.close()
            raise
        upstream = Upstream(*self._target)
        try:
            goes_on = True
            while goes_on:
                self._idle.add(writer)
                request = await read_message(reader, of_answer=False)
                self._idle.discard(writer)
                if request is None:
                    break
                self._in_hand += 1
                try:
                    goes_on = await self._answer(request, reader, writer, upstream)
                finally:
                    self._in_hand -= 1
            writer.close()
        except (OSError, EOFError):  # the instance's end or the caller's
            reset(writer)
        finally:
            self._idle.discard(writer)
            upstream.close()
            if not writer.is_closing():  # cancelled
                writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(
        self,
        request: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: Upstream,
    ) -> bool:
        """Do what the plan says; may the connection be kept?"""
        self.requests += 1
        method, target = request.head.split(b" ", 2)[:2]
        fault = self.plan(method.decode(), target.decode().split("?")[0])
        if fault is not None:
            self.counts[fault] += 1
        if fault is Fault.CUT_REQUEST:
            return False
        if (canned := CANNED.get(fault)) is not None:
            writer.write(canned)
            return False
        if fault is Fault.HANG:
            await self._hold()
        asking = asyncio.ensure_future(upstream.ask(request))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=GLANCE)
                # A caller that hangs up is told to the instance, as if nobody were in between.
                if fault is None and reader.at_eof() and not asking.done():
                    return False
            answer = asking.result()
        finally:
            asking.cancel()
        match fault:
            case Fault.CUT_BEFORE:
                await self._refuse()
                self._start(self._accept_later())
                writer.write(answer.with_close())
                return False
            case Fault.CUT_APPLIED:
                reset(writer)
                return False
            case Fault.HALF_ANSWER:
                writer.write(answer.half())
                return False
            case Fault.STATUS_502_APPLIED | Fault.STATUS_504_APPLIED:
                writer.write(GATEWAY[fault])
                return False
            case Fault.HANG_APPLIED:
                await self._hold()
        writer.write(answer.head + answer.body)
        await writer.drain()
        return not answer.closes

    async def _accept_later(self) -> None:
        try:
            await asyncio.sleep(self.refuse_for)
        finally:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                self._refusals -= 1
            else:
                await self._accept_again()

    async def _hold(self) -> None:
        held = asyncio.Event()
        self._held.add(held)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.hang_for):
                    await held.wait()
        finally:
            self._held.discard(held)
