"""Redis server for tests: on a free port, without persistence unless asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.programs import find_program
from kato_consul.testing.redis.binary import REDIS
from kato_consul.testing.server_program import ServerProgram

if TYPE_CHECKING:
    import redis

COMMAND_TIMEOUT = 10.0  # seconds


class RedisFailed(RuntimeError):
    """The server did not start; the message has the end of its log."""


class RedisServer(ServerProgram):
    """A Redis server on 127.0.0.1, as a context manager.

    Args:
        binary: the server program; None: the one that is found.
        config: Redis' own configuration, such as ``{"maxmemory": "2mb"}``.
        password: what clients have to log in with; "" for no password.
        persistent: keep the data in a file that each change is written to, so that a restarted
            server has it again.
        replica_of: the server that this one replicates.
    """

    FAILED, PORT_IN_USE, POLL = RedisFailed, "Address already in use", 0.01  # it needs 0.05 s
    FOLDER = "kato-consul-redis-"

    def __init__(
        self,
        *,
        binary: Path | None = None,
        config: Mapping[str, str] | None = None,
        password: str = "",
        persistent: bool = False,
        replica_of: "RedisServer | None" = None,
    ) -> None:
        super().__init__("the Redis server")
        self._binary = binary
        self._config = dict(config or {})
        self._password = password
        self._persistent = persistent
        self._replica_of = replica_of
        self._port: int | None = None

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

    def _client(self) -> "redis.Redis":
        import redis  # an extra of the package, which other test tools do not need

        return redis.Redis.from_url(self.url, socket_timeout=COMMAND_TIMEOUT, protocol=2)

    @property
    def _has_ports(self) -> bool:
        return self._port is not None

    def _forget_ports(self) -> None:
        self._port = None

    def _program(self) -> ChildProcess:
        if self._binary is None:
            self._binary = find_program(REDIS)
        folder = self._temporary_folder()
        if self._port is None:
            (self._port,) = free_ports(1)
        options = {
            "bind": HOST,
            "port": str(self._port),
            "dir": str(folder),
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
        return ChildProcess(argv, name=self._title, log=folder / "redis.log")

    def _wait_until_ready(self, process: ChildProcess, deadline: float) -> str | None:
        return self._wait_until(process, deadline, lambda: self._is_ready(process))

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
