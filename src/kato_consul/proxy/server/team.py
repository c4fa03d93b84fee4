"""The workers of a server: this process alone, or processes of their own."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol

from kato_consul._logging import logger
from kato_consul.errors import KatoConsulError
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.worker import AppFactory, Worker, run_in_loop

STARTED, FAILED, CUT = "started", "failed", "cut"
"""What a worker process reports: it serves; it could not, with the exception; it has ended, with
the number of requests that were cut."""

ANNOUNCE, DRAIN, FORCE = "announce", "drain", "force"
"""What it is told to do, as the methods of `Worker`; with the seconds that it has for it."""

KILLED_AFTER = 5.0
"""Seconds after the drain time, or after the order to end at once, in which a worker has to end: it
closes its application then. One that does not is hung, and is killed."""

RESTART_PAUSE = 1.0
"""Seconds before a worker is started again that ended before it had served."""

log = logger("proxy")


class Team(Protocol):
    """The workers of a server."""

    async def start(self) -> None:
        """Serve from now on; raises what keeps a worker from it."""

    def announce(self) -> None:
        """Begin to leave: `Worker.announce`."""

    async def drain(self, within: float) -> int:
        """End what is in hand, and return how many requests were cut: `Worker.drain`."""

    def cut(self) -> None:
        """End at once what `drain` waits for."""

    def close(self) -> None:
        """Let go of what still runs, after an error."""


class WorkerProcesses:
    """Workers in processes of their own, which are replaced when they die.

    Args:
        factory: makes the application; it is pickled.
        options: of the server.
        shares: the listening sockets of each worker. This process keeps them open until the end, so
            that connections wait for the replacement of a worker that died.
        on_end: called with the process id of each worker that has ended.
    """

    def __init__(
        self,
        factory: AppFactory,
        options: ServerOptions,
        shares: Sequence[Sequence[socket.socket]],
        on_end: Callable[[int], None],
    ) -> None:
        self._factory = factory
        self._options = options
        self._shares = shares
        self._on_end = on_end
        self._processes: list[_WorkerProcess] = []
        self._replacing: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all workers, and wait until all of them serve."""
        self._processes = [self._new(share) for share in self._shares]
        try:
            for one in self._processes:
                await one.started
        except BaseException:
            for one in self._processes:
                one.kill()
            raise
        self._replacing = [
            asyncio.ensure_future(self._keep(number)) for number in range(len(self._processes))
        ]

    def announce(self) -> None:
        """Tell all workers, and do not replace them any more."""
        for task in self._replacing:
            task.cancel()
        for one in self._processes:
            one.tell(ANNOUNCE)

    async def drain(self, within: float) -> int:
        """Drain all workers, which have the last copies of their sockets then."""
        for share in self._shares:
            for one in share:
                one.close()
        for process in self._processes:
            process.tell(DRAIN, within)
        ended = [process.ended for process in self._processes]
        await asyncio.wait(ended, timeout=within + KILLED_AFTER)
        self._kill()
        return sum(await asyncio.gather(*ended))

    def cut(self) -> None:
        """Tell all workers."""
        for one in self._processes:
            one.tell(FORCE)
        asyncio.get_running_loop().call_later(KILLED_AFTER, self._kill)

    def _kill(self) -> None:
        for one in self._processes:
            if not one.ended.done():
                log.warning("proxy.worker_killed", pid=one.pid)
                one.kill()

    def close(self) -> None:
        """Let go of all workers: one that still runs drains itself."""
        for one in self._processes:
            one.close()

    def _new(self, share: Sequence[socket.socket]) -> "_WorkerProcess":
        return _WorkerProcess(self._factory, self._options, share)

    async def _keep(self, number: int) -> None:
        """Replace a worker each time that it has ended."""
        while True:
            process = self._processes[number]
            await asyncio.shield(process.ended)  # whose future is not this task's to cancel
            self._on_end(process.pid)
            failure = process.failure
            log.warning(
                "proxy.worker_died",
                pid=process.pid,
                exit_code=process.exit_code,
                why="" if failure is None else str(failure),
            )
            if not process.has_served:
                await asyncio.sleep(RESTART_PAUSE)
            self._processes[number] = self._new(self._shares[number])


class _WorkerProcess:
    """A process with a `Worker`, as its parent sees it."""

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
        self._cut = 0
        self._loop.add_reader(self._pipe.fileno(), self._read)
        self._loop.add_reader(self._process.sentinel, self._reap)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    @property
    def has_served(self) -> bool:
        return self.started.done() and self.failure is None

    @property
    def failure(self) -> BaseException | None:
        """What kept it from serving, None if it did."""
        return self.started.exception()

    def tell(self, order: str, within: float = 0.0) -> None:
        if not self._pipe.closed:
            with contextlib.suppress(OSError):  # it ends, and `_reap` is called
                self._pipe.send((order, within))

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
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
            order, within = pipe.recv()
        except (EOFError, OSError):  # the parent was killed
            loop.remove_reader(pipe.fileno())
            worker.announce()
            order, within = DRAIN, options.drain
        if order == ANNOUNCE:
            worker.announce()
        elif not drained.done():
            drained.set_result(within)
        if order == FORCE:
            worker.cut()

    loop.add_reader(pipe.fileno(), obey)
    pipe.send((STARTED, os.getpid()))
    cut = await worker.drain(await drained)
    loop.remove_reader(pipe.fileno())
    with contextlib.suppress(OSError):  # the parent was killed
        pipe.send((CUT, cut))
