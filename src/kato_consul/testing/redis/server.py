"""Redis server for tests: on a free port, without persistence unless asked for."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.redis.binary import find_redis
from kato_consul.testing.scratch import ScratchFolder

if TYPE_CHECKING:
    import redis

ATTEMPTS = 3  # to choose a port that no other program takes before Redis does
PORT_IN_USE = "Address already in use"
POLL = 0.01  # seconds between checks of a starting server, which needs 0.05 s
COMMAND_TIMEOUT = 10.0  # seconds


class RedisFailed(RuntimeError):
    """The server did not start; the message has the end of its log."""


class RedisServer:
    """A Redis server on 127.0.0.1, as a context manager.

    Args:
        binary: the server program; None: `find_redis`.
        config: Redis' own configuration, such as ``{"maxmemory": "2mb"}``.
        password: what clients have to log in with; "" for no password.
        persistent: keep the data in a file that each change is written to, so that a restarted
            server has it again.
        replica_of: the server that this one replicates.
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        config: Mapping[str, str] | None = None,
        password: str = "",
        persistent: bool = False,
        replica_of: "RedisServer | None" = None,
    ) -> None:
        self._binary = binary
        self._config = dict(config or {})
        self._password = password
        self._persistent = persistent
        self._replica_of = replica_of
        self._folder: ScratchFolder | None = None
        self._port: int | None = None
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 30.0) -> None:
        """Start the server and wait, up to `timeout` seconds, until it answers; a replica also has
        its master's data then.

        The first start chooses the port; later ones keep it. Raises RedisFailed with the end of the
        log if it ends early or is not ready in time, RedisNotFound if there is no program.
        """
        deadline = time.monotonic() + timeout
        attempts = ATTEMPTS if self._port is None else 1
        for attempt in range(1, attempts + 1):
            try:
                process = self._launch()
                problem = self._wait_until_ready(process, deadline)
            except BaseException:  # also Ctrl-C: `with` does not call __exit__ then
                self.stop()
                raise
            if problem is None:
                return
            log = process.log_tail()
            process.kill()
            if PORT_IN_USE not in log or attempt == attempts:
                self.stop()
                raise RedisFailed(f"{process.name} {problem}; the end of its log:\n{log}")
            self._port = None

    def stop(self) -> None:
        """End the server, even if it is frozen, and remove its folder. Idempotent."""
        if self._process:
            self._process.kill()
        if self._folder:
            self._folder.remove()
            self._folder = None

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would."""
        self._started.kill()

    def freeze(self) -> None:
        """Freeze the server: it accepts connections and answers nothing."""
        self._started.freeze()

    def thaw(self) -> None:
        """Resume a frozen server."""
        self._started.thaw()

    def restart(self, timeout: float = 30.0) -> None:
        """Kill the server and start it on the same port; `timeout` as for `start`.

        It has its data again only if it is persistent.
        """
        self._started.kill()
        self.start(timeout)

    def promote(self) -> None:
        """Make a replica a master."""
        self.command("REPLICAOF", "NO", "ONE")

    @property
    def running(self) -> bool:
        """True if the server's process runs. A frozen server is running."""
        return self._process is not None and self._process.running

    @property
    def port(self) -> int:
        """The port; RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("the Redis server has no port yet; call start() first")
        return self._port

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`, with the password."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    def command(self, *arguments: str | bytes | int) -> Any:
        """Execute one command and return its reply, as redis-py has it."""
        with self._client() as client:
            return client.execute_command(*arguments)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last `lines` lines of the log; empty after `stop` has removed it."""
        return self._started.log_tail(lines)

    def _client(self) -> "redis.Redis":
        import redis  # an extra of the package, which other test tools do not need

        return redis.Redis.from_url(self.url, socket_timeout=COMMAND_TIMEOUT, protocol=2)

    @property
    def _started(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("the Redis server was not started; call start() first")
        return self._process

    def _launch(self) -> ChildProcess:
        if self._binary is None:
            self._binary = find_redis()
        if self._folder is None:
            self._folder = ScratchFolder("kato-consul-redis-")
        if self._port is None:
            (self._port,) = free_ports(1)
        options = {
            "bind": HOST,
            "port": str(self._port),
            "dir": str(self._folder.path),
            "save": "",
            "appendonly": "yes" if self._persistent else "no",
            "appendfsync": "always",
            "repl-diskless-sync-delay": "0",  # otherwise a replica waits 5 s for others
            "repl-diskless-load": "swapdb",
        }
        if self._password:
            options |= {"requirepass": self._password, "masterauth": self._password}
        if self._replica_of:
            options["replicaof"] = f"{HOST} {self._replica_of.port}"
        argv = [str(self._binary)]
        for name, value in {**options, **self._config}.items():
            argv += [f"--{name}", *(value.split() or [""])]
        # Stored before it starts: after an interrupt in between, `stop` has to end it.
        process = self._process = ChildProcess(
            argv, name="the Redis server", log=self._folder.path / "redis.log"
        )
        process.start()
        return process

    def _wait_until_ready(self, process: ChildProcess, deadline: float) -> str | None:
        """Return None once the server is ready, otherwise the reason why it is not."""
        while time.monotonic() < deadline:
            if not process.running:
                return f"ended early with exit status {process.returncode}"
            if self._is_ready(process):
                return None
            time.sleep(POLL)
        return "was not ready in time"

    def _is_ready(self, process: ChildProcess) -> bool:
        from redis.exceptions import RedisError

        try:
            with self._client() as client:
                info: dict[str, Any] = dict(client.info())
        except RedisError:
            return False
        # Another server may have taken the port.
        ours = info["process_id"] == process.pid
        return ours and (not self._replica_of or info["master_link_status"] == "up")
