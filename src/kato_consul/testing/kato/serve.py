"""Command that serves one stand-in instance: `python -m kato_consul.testing.kato.serve --help`.

With several workers, this process only binds the socket, starts the workers and replaces a worker
that dies. A worker ends as soon as its parent has ended.
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

BACKLOG = 2048  # as on the real KATO's command line
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RESTART_DELAY = 0.1  # seconds before a dead worker is replaced
SHUTDOWN_TIMEOUT = 5  # seconds for requests in flight when it stops


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises SystemExit with the exit status."""
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
    Store(options.store).close()  # creates the schema before several workers need it
    if options.workers == 1:
        serve(worker, listener, options.keep_alive)
    else:
        Workers(options.workers, worker, listener, options.keep_alive).run()


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    command_line = argparse.ArgumentParser(
        prog="python -m kato_consul.testing.kato.serve",
        description="A stand-in for a KATO instance: its session API with its faults, for tests "
        "and demonstrations. Instances with the same --store share sessions. Instances with the "
        "same --store and --name also share learned patterns.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = command_line.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="port to listen on")
    add("--store", type=Path, required=True, default=argparse.SUPPRESS, help="SQLite file to share")
    add("--name", default="kato", help="the instance's SERVICE_NAME")
    add("--workers", type=positive, default=1, help="processes; each has its own session locks")
    add("--keep-alive", type=float, default=5, help="seconds before an idle connection is closed")
    add("--limit-concurrency", type=positive, default=100, help="per worker; beyond it, 503")
    add("--work", type=float, default=0.001, help="seconds between a session's read and write")
    add("--switches", type=Path, help="JSON file that injects faults while the instance runs")
    return command_line


def positive(text: str) -> int:
    """Return a number of 1 or more."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not create_server: asyncio sets TCP_NODELAY only if the protocol is given. Without it each
    # response waits 40 ms for the client's acknowledgement of its headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def serve(options: Options, listener: socket.socket, keep_alive: float) -> None:
    """Serve in this process until SIGTERM or SIGINT; then raise SystemExit(0)."""
    # Before uvicorn installs its signal handlers, this handler ends the process. Later uvicorn
    # raises the signal again after its shutdown, and this handler makes that a normal exit.
    for sig in STOP_SIGNALS:
        signal.signal(sig, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    config = uvicorn.Config(
        create_app(options),
        http="h11",
        ws="websockets-sansio",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        limit_concurrency=options.limit_concurrency,
        timeout_keep_alive=keep_alive,  # type: ignore[arg-type]  # the event loop accepts floats
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )
    uvicorn.Server(config).run(sockets=[listener])


class Workers:
    """Keeps `count` workers running on one socket until SIGTERM or SIGINT."""

    def __init__(
        self, count: int, options: Options, listener: socket.socket, keep_alive: float
    ) -> None:
        self._count = count
        self._serve = functools.partial(serve, options, listener, keep_alive)
        self._read_end, self._write_end = os.pipe()  # never written: closed when this process ends
        self._pids: set[int] = set()
        self._stopping = False

    def run(self) -> None:
        """Start the workers and replace those that die. Return when all have ended."""
        for sig in STOP_SIGNALS:
            signal.signal(sig, self._stop)
        for _ in range(self._count):
            self._start()
        while self._pids:
            pid, _ = os.wait()
            self._pids.discard(pid)
            if not self._stopping:
                time.sleep(RESTART_DELAY)
                self._start()

    def _start(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until the worker's pid is stored
        if pid := os.fork():
            self._pids.add(pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            if self._stopping:
                self._stop()
            return
        status = 1
        try:
            os.close(self._write_end)
            threading.Thread(target=end_with_parent, args=(self._read_end,), daemon=True).start()
            self._serve()
        except SystemExit:
            status = 0
        except Exception:  # noqa: BLE001  # the process ends here
            traceback.print_exc()
        finally:
            os._exit(status)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def end_with_parent(read_end: int) -> None:
    """Wait until the parent's end of the pipe is closed, then end this process."""
    os.read(read_end, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
