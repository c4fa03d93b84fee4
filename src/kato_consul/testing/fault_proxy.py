"""Fault proxy: forwards requests to one instance and injects network and server faults.

`kato_consul.testing.fault_plan` defines the faults and chooses the requests. If the instance itself
closes or refuses the connection, the caller's connection is reset.
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

import h11

from kato_consul.testing.fault_plan import Fault, Plan, no_fault
from kato_consul.testing.http1 import CANNED, GATEWAY, Message, Upstream, read_request, reset
from kato_consul.testing.ports import HOST, free_ports

T = TypeVar("T")

BACKLOG = 1_000  # connections that wait to be accepted
POLL = 0.02  # seconds between two checks whether a waiting caller has hung up
LOOP_TIMEOUT = 10.0  # seconds for a coroutine on the proxy's own event loop


class FaultProxy:
    """A proxy in front of one instance, as a context manager. It listens on 127.0.0.1 at ``url``.

    Args:
        target: the instance, like ``http://host:port``.
        plan: chooses the fault of each request, see `fault_plan`. The attribute may be replaced at
            any time.
        hang_for: seconds after which a hanging request is released; None: only `release` does it.
            The attribute may be changed at any time.
        refuse_for: seconds for which ``CUT_BEFORE`` refuses connections.

    ``counts`` is the number of injections of each fault, ``requests`` the number of requests.

    Raises:
        ValueError: ``target`` has no host or no port, or its scheme is not http.
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
        self.port = free_ports(1)[0]  # not ephemeral: the kernel could reuse it while closed
        self.counts: Counter[Fault] = Counter()
        self.requests = 0
        self._in_flight = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: socket.socket | None = None
        self._refusals = 0
        self._held: set[asyncio.Event] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's base URL, without a trailing slash."""
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
            self._stop_loop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._stop_loop()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections while the block runs, and close idle ones."""
        self._call(self._refuse())
        try:
            yield
        finally:
            self._call(self._accept_again())

    def release(self) -> None:
        """Release all hanging requests, also those whose callers have given up."""
        self._call(self._release())

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until no request is in flight: released requests have reached the instance by then.

        Raises:
            TimeoutError: a request is still in flight after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while self._in_flight:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the proxy still has {self._in_flight} requests in flight")
            time.sleep(POLL)

    # --- all below runs in the proxy's thread, except `_call` and `_stop_loop` --------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LOOP_TIMEOUT)

    def _stop_loop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        # Not asyncio's server: if closed while it accepts a connection, it loses that connection.
        self._listener = socket.create_server((self.host, self.port), backlog=BACKLOG)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _close_port(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the caller has closed it already
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._start(self._serve(connection))

    async def _stop(self) -> None:
        self._close_port()
        await asyncio.sleep(0)  # a task cancelled before it starts would not close its connection
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
        for released in self._held:
            released.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        upstream = Upstream(*self._target)
        try:
            keep_alive = True
            while keep_alive:
                self._idle.add(writer)
                request = await read_request(reader)
                self._idle.discard(writer)
                if request is None:
                    break
                self._in_flight += 1
                try:
                    keep_alive = await self._respond(request, reader, writer, upstream)
                finally:
                    self._in_flight -= 1
            writer.close()
        except (OSError, h11.RemoteProtocolError):  # the instance or the caller closed
            reset(writer)
        finally:
            self._idle.discard(writer)
            upstream.close()
            if not writer.is_closing():  # cancelled
                writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _respond(
        self,
        request: Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: Upstream,
    ) -> bool:
        """Carry out the plan. Return whether the connection can be reused."""
        self.requests += 1
        assert isinstance(request.start, h11.Request)
        method, target = request.start.method.decode(), request.start.target.decode()
        fault = self.plan(method, target.split("?")[0])
        if fault is not None:
            self.counts[fault] += 1
        if fault is Fault.CUT_REQUEST:
            return False
        if (canned := CANNED.get(fault)) is not None:
            writer.write(canned)
            return False
        if fault is Fault.HANG:
            await self._hold()
        sending = asyncio.ensure_future(upstream.send(request))
        try:
            while not sending.done():
                await asyncio.wait({sending}, timeout=POLL)
                # If the caller hangs up, the instance must see it as it would without a proxy.
                if fault is None and reader.at_eof() and not sending.done():
                    return False
            response = sending.result()
        finally:
            sending.cancel()
        match fault:
            case Fault.CUT_BEFORE:
                await self._refuse()
                self._start(self._accept_later())
                writer.write(response.with_close())
                return False
            case Fault.CUT_APPLIED:
                reset(writer)
                return False
            case Fault.HALF_ANSWER:
                writer.write(response.half())
                return False
            case Fault.STATUS_502_APPLIED | Fault.STATUS_504_APPLIED:
                writer.write(GATEWAY[fault])
                return False
            case Fault.HANG_APPLIED:
                await self._hold()
        writer.write(response.head + response.body)
        await writer.drain()
        return not response.closes

    async def _accept_later(self) -> None:
        try:
            await asyncio.sleep(self.refuse_for)
        finally:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                self._refusals -= 1
            else:
                await self._accept_again()

    async def _hold(self) -> None:
        released = asyncio.Event()
        self._held.add(released)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.hang_for):
                    await released.wait()
        finally:
            self._held.discard(released)
