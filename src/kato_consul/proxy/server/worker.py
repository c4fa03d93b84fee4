"""A worker: serves the application on listening sockets, in this process, until it is drained."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any, TypeVar

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from kato_consul._logging import logger
from kato_consul.proxy.server.accepting import Acceptor
from kato_consul.proxy.server.connection import CallerConnection
from kato_consul.proxy.server.connection_limits import ConnectionLimits
from kato_consul.proxy.server.lifespan import Lifespan
from kato_consul.proxy.server.middlewares import Leaving, middlewares
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.tls import server_tls

IDLE_WITHIN_AT_END = 5.0
"""Seconds that an idle connection stays open at the end, but never more than a fifth of the drain
time. A caller that sends a request within it gets its answer, and is told that the connection
ends; at a connection that is closed at once, it would see a reset."""

CONNECTIONS_ABOVE_LIMIT = 250
"""Connections above the limit that are answered with a 503; further ones are closed."""

FORCED_WITHIN = 2.0
"""Seconds that the application may take to close when the end is not to wait for anything."""

CHECK_INTERVAL = 0.02
"""Seconds between checks whether all connections have ended."""

SERVER = "kato-consul-proxy"
"""The ``Server`` header of all answers. By it `kato-consul doctor` knows a proxy."""

log = logger("proxy")

AppFactory = Callable[[], ASGIApp]

T = TypeVar("T")


class Worker:
    """Serves an application.

    Args:
        factory: makes the application.
        options: of the whole server; the connections are this worker's share.
        sockets: what the server listens on; the worker closes them.
    """

    def __init__(
        self, factory: AppFactory, options: ServerOptions, sockets: Sequence[socket.socket]
    ) -> None:
        self._factory = factory
        self._options = options
        self._sockets = sockets
        self._state = ServerState()
        self._leaving = Leaving()
        self._cut = asyncio.Event()

    async def start(self) -> None:
        """Open the application.

        Raises:
            ConfigurationError: the certificate or the keys cannot be read.
            The exception of the application, if it could not be opened.
        """
        options = self._options
        tls = server_tls(options)
        app = self._factory()
        served, meter = middlewares(app, options, self._leaving)
        self._lifespan = Lifespan(app)
        await self._lifespan.start()
        self._limits = ConnectionLimits(
            max_connections=-(-options.max_connections // options.workers),
            idle_within=options.idle_within,
            head_within=options.head_within,
            body_within=options.body_within,
            send_within=options.send_within,
            meter=meter,
        )
        # A request that is not HTTP is the caller's mistake, and is counted.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = Config(
            served,
            interface="asgi3",
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            headers=[("server", SERVER)],
        )
        config.load()
        self._config = config
        connection = partial(
            CallerConnection,
            self._limits,
            config=config,
            server_state=self._state,
            app_state=self._lifespan.state,
        )
        self._each_second = asyncio.ensure_future(self._do_each_second())
        self._acceptor = Acceptor(
            self._sockets,
            connection,
            tls=tls,
            handshake_within=options.head_within,
            meter=meter,
            admit=self._admit,
        )

    def accept(self, numbers: Collection[int] | None = None) -> None:
        """Accept connections from now on.

        Args:
            numbers: those of the sockets to accept from, which listen; None: all.
        """
        sockets = self._sockets
        self._acceptor.accept_from(
            sockets if numbers is None else [sockets[one] for one in numbers]
        )

    def announce(self) -> None:
        """Begin to leave, and accept connections still: ``/ready`` is a 503, and each response ends
        its connection."""
        self._leaving.begun = self._limits.leaving = True
        idle_within = min(IDLE_WITHIN_AT_END, self._options.drain / 5)
        self._limits.idle_within = idle_within
        for connection in self._caller_connections():
            connection.leave(idle_within)

    async def drain(self, within: float) -> int:
        """Stop to accept, end what is in hand, and close the application.

        Args:
            within: seconds that requests in hand may take.

        Returns:
            The number of requests that were cut, since the drain time was over.
        """
        self._acceptor.stop()
        self._limits.draining = True
        for connection in list(self._state.connections):
            if not isinstance(connection, CallerConnection):
                connection.shutdown()  # a WebSocket
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._until_idle(), within)
        cut = len(self._state.tasks)
        # uvicorn would log each with a traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        for task in self._state.tasks:
            task.cancel()
        for one in list(self._state.connections):
            one.transport.close()
        self._each_second.cancel()
        if cut:
            log.warning("proxy.requests_cut", count=cut)
            await asyncio.wait(set(self._state.tasks), timeout=FORCED_WITHIN)
        ending = asyncio.ensure_future(self._lifespan.end())
        waited = asyncio.ensure_future(self._cut.wait())
        await asyncio.wait({ending, waited}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({ending}, timeout=FORCED_WITHIN)
        waited.cancel()
        if ending.done():
            ending.result()
        return cut

    def cut(self) -> None:
        """End at once what `drain` waits for."""
        self._cut.set()

    def close(self) -> None:
        """Do nothing: what this process has open ends with it."""

    async def _until_idle(self) -> None:
        while self._acceptor.opening or self._state.connections or self._state.tasks:
            if self._cut.is_set():
                return
            await asyncio.sleep(CHECK_INTERVAL)

    def _admit(self) -> bool:
        limit = self._limits.max_connections + CONNECTIONS_ABOVE_LIMIT
        return len(self._state.connections) + len(self._acceptor.opening) < limit

    def _caller_connections(self) -> list[CallerConnection]:
        return [one for one in self._state.connections if isinstance(one, CallerConnection)]

    async def _do_each_second(self) -> None:
        """Keep the date of responses, and reset connections whose callers read nothing."""
        loop = asyncio.get_running_loop()
        while True:
            for connection in self._caller_connections():
                connection.check_reader(loop.time())
            date = (b"date", formatdate(time.time(), usegmt=True).encode())
            self._state.default_headers = [date, *self._config.encoded_headers]
            await asyncio.sleep(1)


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop: uvloop's where that is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(coroutine)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
