"""The course of a server: it starts, serves until a signal, and leaves without losing a request."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import Awaitable, Callable

from kato_consul._libraries import load_libraries
from kato_consul.proxy.server.handover import Handover
from kato_consul.proxy.server.identity import Identity
from kato_consul.proxy.server.listening import start_listening
from kato_consul.proxy.server.metrics_page import MetricsPage
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.registering import Registered
from kato_consul.proxy.server.succession import sockets_to_listen_on
from kato_consul.proxy.server.team import Team, WorkerProcesses
from kato_consul.proxy.server.worker import AppFactory, Worker, run_in_loop
from kato_consul.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

NOTICED_WITHIN = 3.0
"""Seconds for which connections are accepted after `/ready` was given up, but never more than a
fifth of the drain time: gateways that watch Consul notice in milliseconds, those that probe once a
second in two."""


def serve(
    factory: AppFactory,
    options: ServerOptions,
    settings: Settings,
    on_ready: Callable[[int | None], None],
) -> int:
    """Serve an application until SIGTERM, SIGINT or SIGHUP, and drain it then.

    A second signal ends the drain.

    Args:
        factory: makes the application, in each worker; with several it is pickled.
        options: what to listen on, and how.
        settings: of the application, for the registration in Consul.
        on_ready: called when the application serves, with the process id of the proxy whose
            listening sockets it has taken over, 0 if that is not known; None if there was none.

    Returns:
        The number of requests that were cut, because they did not end within the drain time.

    Raises:
        ConfigurationError: an option cannot be used, or the port is in use, also by another proxy
            that is neither to be replaced nor to share it.
        The exception of the application, if it could not be opened.
    """
    options.check_settings(settings)
    _raise_descriptor_limit()
    load_libraries()  # those of logging: without file descriptors they could not be imported
    return run_in_loop(_serve(factory, options, settings, on_ready))


async def _serve(
    factory: AppFactory,
    options: ServerOptions,
    settings: Settings,
    on_ready: Callable[[int | None], None],
) -> int:
    signals = _Signals()
    identity = Identity.of(options, settings)
    sockets, predecessor = sockets_to_listen_on(options, identity)
    beside = options.share_port or predecessor is not None
    with MetricsPage(options.metrics_address, options.workers, beside=beside) as metrics:
        team: Team
        if options.workers == 1:
            team = Worker(factory, options, sockets)
        else:
            team = WorkerProcesses(factory, options, sockets, metrics.worker_ended)
        try:
            if not await _before(signals.first, team.start()):
                return 0
            # Not before: the connections of one that does not come to serve would be reset.
            start_listening("--listen", options.address, sockets)
            team.accept()
            handover = Handover(options.address, identity, sockets, predecessor)
            handover.start()
            registered = Registered(options, settings)
            registered.start()
            on_ready(predecessor and predecessor.pid)
            if options.replace and predecessor is not None:
                predecessor.terminate()
            await signals.first.wait()
            until = asyncio.get_running_loop().time() + options.drain
            handover.end()
            team.announce()
            await _before(signals.second, registered.end())
            if options.register is not None or not options.is_local:
                noticed_within = min(NOTICED_WITHIN, options.drain / 5)
                await _before(signals.second, asyncio.sleep(noticed_within))
            return await _drain(team, until, signals.second)
        finally:
            team.close()
            for one in sockets:  # if it did not come to serve, they are open still
                one.close()


async def _drain(team: Team, until: float, cut: asyncio.Event) -> int:
    within = max(0.0, until - asyncio.get_running_loop().time())
    draining = asyncio.ensure_future(team.drain(within))
    if not await _before(cut, asyncio.shield(draining)):
        team.cut()
    return await draining


class _Signals:
    """The signals that end the server. The first drains it, the second ends the drain."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                loop.add_signal_handler(number, self._arrived)

    def _arrived(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def _before(event: asyncio.Event, work: Awaitable[object]) -> bool:
    """Wait for some work, and cancel it when an event is set; return False then."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.wait({working})
    return False


def _raise_descriptor_limit() -> None:
    """Allow this process as many files as the system lets it: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS has no "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
