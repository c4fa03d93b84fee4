"""One stand-in instance as a process: `python -m kato_consul.testing.kato.serve --help`.

With several workers, this process binds the socket once, starts the workers, replaces one that
dies, and does nothing else. A worker whose parent is gone ends at once.
"""

import argparse
import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import uvicorn

from kato_consul.testing.kato.app import create_app
from kato_consul.testing.kato.state import Options
from kato_consul.testing.kato.store import Store

BACKLOG = 2048  # as the real one's command line has it
ENDS = (signal.SIGTERM, signal.SIGINT)
PAUSE = 0.1  # seconds before a dead worker is replaced
GRACE = 5  # seconds that requests in work are given at the end


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. SystemExit says how it ended."""
    options = parser().parse_args(arguments)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    worker = Options(
        store=options.store,
        name=options.name,
        switches=options.switches,
        work=options.work,
        limit_concurrency=options.limit_concurrency,
    )
    Store(options.store).close()  # its schema is there before two workers look for it
    if options.workers == 1:
        serve(worker, listener, options.keep_alive)
    else:
        Workers(options.workers, worker, listener, options.keep_alive).run()


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m kato_consul.testing.kato.serve",
        description="A stand-in for a KATO instance: its session API with its vices, for tests "
        "and demonstrations. Instances with the same --store share sessions; instances with the "
        "same --name share what they learn, too.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = made.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="port to listen on")
    add("--store", type=Path, required=True, default=argparse.SUPPRESS, help="SQLite file to share")
    add("--name", default="kato", help="the instance's SERVICE_NAME")
    add("--workers", type=positive, default=1, help="processes; each has its own session locks")
    add("--keep-alive", type=float, default=5, help="seconds an idle connection is kept")
    add("--limit-concurrency", type=positive, default=100, help="per worker; beyond it, 503")
    add("--work", type=float, default=0.001, help="seconds between a session's read and write")
    add("--switches", type=Path, help="JSON file that makes the instance suffer while it runs")
    return made


def positive(text: str) -> int:
    """Return a number of 1 or more."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not create_server: asyncio sets TCP_NODELAY only where the protocol is named, and without it
    # each answer waits 40 ms for the client's acknowledgement of its headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def serve(options: Options, listener: socket.socket, keep_alive: float) -> None:
    """Serve in this process until a signal comes; then SystemExit(0)."""
    # Before uvicorn listens to signals this ends the process; afterwards uvicorn raises the
    # signal once more, and here it is a normal end.
    for sig in ENDS:
        signal.signal(sig, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    config = uvicorn.Config(
        create_app(options),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        limit_concurrency=options.limit_concurrency,
        timeout_keep_alive=keep_alive,  # type: ignore[arg-type]  # the event loop takes fractions
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run(sockets=[listener])


class Workers:
    """Keeps `count` workers on one socket until a signal comes."""

    def __init__(
        self, count: int, options: Options, listener: socket.socket, keep_alive: float
    ) -> None:
        self._count = count
        self._serve = functools.partial(serve, options, listener, keep_alive)
        self._alive, self._held = os.pipe()  # nobody writes: it ends when this process ends
        self._pids: set[int] = set()
        self._ending = False

    def run(self) -> None:
        """Start the workers, replace those that die, return when all have ended."""
        for sig in ENDS:
            signal.signal(sig, self._end)
        for _ in range(self._count):
            self._start()
        while self._pids:
            pid, _ = os.wait()
            self._pids.discard(pid)
            if not self._ending:
                time.sleep(PAUSE)
                self._start()

    def _start(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # until the worker is one to be ended
        if pid := os.fork():
            self._pids.add(pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
            if self._ending:
                self._end()
            return
        status = 1
        try:
            os.close(self._held)
            threading.Thread(target=end_with_parent, args=(self._alive,), daemon=True).start()
            self._serve()
        except SystemExit:
            status = 0
        except Exception:  # noqa: BLE001  # the last words of a process that ends here
            traceback.print_exc()
        finally:
            os._exit(status)

    def _end(self, *_: object) -> None:
        self._ending = True
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def end_with_parent(alive: int) -> None:
    """Wait for the end of the pipe, then end this process."""
    os.read(alive, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
