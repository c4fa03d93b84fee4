"""The workers of a server: this process alone, or processes of their own."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from kato_consul._logging import logger
from kato_consul.proxy.server.listening import shares
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.worker import AppFactory
from kato_consul.proxy.server.worker_process import ANNOUNCE, DRAIN, FORCE, WorkerProcess

KILLED_AFTER = 5.0
"""Seconds after the drain time, or after the order to end at once, in which a worker has to end: it
closes its application then. One that does not is hung, and is killed."""

RESTART_PAUSE = 1.0
"""Seconds before a worker is started again that ended before it had served."""

log = logger("proxy")


class Team(Protocol):
    """The workers of a server."""

    async def start(self) -> None:
        """Come to be able to serve; raises what keeps a worker from it."""

    def accept(self) -> None:
        """Accept connections from now on."""

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
        sockets: what the server listens on. Each worker has all of them, and accepts from its
            share, and from those of workers that are not there.
        on_end: called with the process id of each worker that has ended.
    """

    def __init__(
        self,
        factory: AppFactory,
        options: ServerOptions,
        sockets: Sequence[socket.socket],
        on_end: Callable[[int], None],
    ) -> None:
        self._factory = factory
        self._options = options
        self._sockets = sockets
        self._shares = [*shares(len(sockets), options.workers)]
        self._on_end = on_end
        self._processes: list[WorkerProcess] = []
        self._replacing: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all workers, and wait until all of them can serve."""
        try:
            for _ in self._shares:
                self._processes.append(self._new())
            for one in self._processes:
                await one.started
        except BaseException:
            for one in self._processes:
                one.kill()
            raise

    def accept(self) -> None:
        """Tell all workers, and replace them from now on when they die."""
        self._share_out()
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
        """Drain all workers, which have the last copies of the sockets then."""
        starting = [process for process in self._processes if not process.serves]
        if len(starting) < len(self._processes):
            # If it failed after the last accept of the others, it would close the last copies.
            for process in starting:
                process.kill()
            await asyncio.gather(*(process.ended for process in starting))
        for one in self._sockets:
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

    def _new(self) -> WorkerProcess:
        return WorkerProcess(self._factory, self._options, self._sockets)

    def _share_out(self) -> None:
        """Tell each worker that serves which sockets to accept from, so that all have one."""
        serving = [number for number, process in enumerate(self._processes) if process.serves]
        left = {
            socket_number
            for number, share in enumerate(self._shares)
            if number not in serving
            for socket_number in share
        }
        for number in serving:
            self._processes[number].accept_from(left.union(self._shares[number]))

    async def _keep(self, number: int) -> None:
        """Replace a worker each time that it has ended."""
        while True:
            process = self._processes[number]
            await asyncio.wait({process.ended})  # which leaves it, if this task is cancelled
            self._share_out()
            self._on_end(process.pid)
            failure = process.failure
            log.warning(
                "proxy.worker_died",
                pid=process.pid,
                exit_code=process.exit_code,
                why="" if failure is None else str(failure),
            )
            if not process.has_started:
                await asyncio.sleep(RESTART_PAUSE)
            replacement = self._processes[number] = await self._replacement()
            await asyncio.wait({replacement.started})
            if replacement.serves:
                log.info("proxy.worker_replaced", pid=replacement.pid)
                self._share_out()

    async def _replacement(self) -> WorkerProcess:
        while True:
            try:
                return self._new()
            except OSError as error:  # the system allows no more processes or files
                log.warning("proxy.worker_not_started", why=error.strerror)
            await asyncio.sleep(RESTART_PAUSE)
