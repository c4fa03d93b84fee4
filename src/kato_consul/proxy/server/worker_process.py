"""A worker in a process of its own: what it is told, what it reports, and its end."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Sequence, Set
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from kato_consul.errors import KatoConsulError
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.worker import AppFactory, Worker, run_in_loop

STARTED, FAILED, CUT = "started", "failed", "cut"
"""What a worker process reports: it can serve; it cannot, with the exception; it has ended, with
the number of requests that were cut."""

ACCEPT, ANNOUNCE, DRAIN, FORCE = "accept", "announce", "drain", "force"
"""What it is told to do, as the methods of `Worker`: to accept, with the sockets; to drain, with
the seconds that it has for it."""


class WorkerProcess:
    """A process with a `Worker`, as its parent sees it.

    Args:
        factory: makes the application; it is pickled.
        options: of the server.
        sockets: all that the server listens on; the process has copies of them.
    """

    def __init__(
        self, factory: AppFactory, options: ServerOptions, sockets: Sequence[socket.socket]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process: SpawnProcess = context.Process(
            target=_run_worker, args=(factory, options, list(sockets), theirs)
        )
        self._process.start()
        theirs.close()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._accepting: Set[int] = frozenset()
        self._cut = 0
        self._loop.add_reader(self._pipe.fileno(), self._read)
        self._loop.add_reader(self._process.sentinel, self._reap)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.exitcode

    @property
    def has_started(self) -> bool:
        """Whether it came to serve; it may have ended since."""
        return self.started.done() and self.failure is None

    @property
    def serves(self) -> bool:
        """Whether it has started, and runs."""
        return self.has_started and not self.ended.done()

    @property
    def failure(self) -> BaseException | None:
        """What kept it from serving, None if it did."""
        return self.started.exception()

    def accept_from(self, numbers: Set[int]) -> None:
        """Tell it which sockets to accept from; nothing if it does, since one that is stopped reads
        nothing, and the pipe must not fill up."""
        if numbers != self._accepting:
            self._accepting = numbers
            self.tell(ACCEPT, [*numbers])

    def tell(self, order: str, value: float | Sequence[int] = 0.0) -> None:
        """Tell it what to do, unless it has ended."""
        if not self._pipe.closed:
            with contextlib.suppress(OSError):  # it ends, and `_reap` is called
                self._pipe.send((order, value))

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """Let go of it: it drains itself then."""
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()

    def _read(self) -> None:
        try:
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self.close()
            return
        if kind == STARTED and not self.started.done():
            self.started.set_result(None)
        elif kind == FAILED and not self.started.done():
            self._failed(value)
        elif kind == CUT:
            self._cut = value

    def _reap(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        while not self._pipe.closed and self._pipe.poll():  # what it reported last
            self._read()
        self.close()
        self._process.join()
        if not self.started.done():
            self._failed(
                KatoConsulError(
                    f"a worker process ended while it was starting, with exit code "
                    f"{self._process.exitcode}; what it wrote to stderr has the reason"
                )
            )
        self.ended.set_result(self._cut)

    def _failed(self, error: Exception) -> None:
        self.started.set_exception(error)
        # Now, since not all are awaited: replacements are not, nor those after one that failed.
        self.started.exception()


def _run_worker(
    factory: AppFactory, options: ServerOptions, sockets: list[socket.socket], pipe: Connection
) -> None:
    """Run a worker in this process. It ignores the signals that its parent acts on: a terminal and
    systemd send them to all processes of a group."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run_in_loop(_serve_as_told(factory, options, sockets, pipe))


async def _serve_as_told(
    factory: AppFactory, options: ServerOptions, sockets: list[socket.socket], pipe: Connection
) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(factory, options, sockets)
    try:
        await worker.start()
    except KatoConsulError as error:
        pipe.send((FAILED, error))
        return
    drained: asyncio.Future[float] = loop.create_future()

    def obey() -> None:
        try:
            order, value = pipe.recv()
        except (EOFError, OSError):  # the parent was killed
            loop.remove_reader(pipe.fileno())
            worker.announce()
            order, value = DRAIN, options.drain
        if order == ACCEPT:
            worker.accept(value)
        elif order == ANNOUNCE:
            worker.announce()
        elif not drained.done():
            drained.set_result(value)
        if order == FORCE:
            worker.cut()

    loop.add_reader(pipe.fileno(), obey)
    pipe.send((STARTED, os.getpid()))
    cut = await worker.drain(await drained)
    loop.remove_reader(pipe.fileno())
    with contextlib.suppress(OSError):  # the parent was killed
        pipe.send((CUT, cut))
