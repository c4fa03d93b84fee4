"""Gateways for tests: nginx, HAProxy and Envoy, with a configuration that a test writes."""

import os
import signal
import socket
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from kato_consul.testing.gateways.binaries import HAPROXY, NGINX, find_envoy
from kato_consul.testing.ports import HOST
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.programs import find_program
from kato_consul.testing.server_program import ServerProgram

NGINX_MAIN = """\
{user}
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {config};
}}
"""


class GatewayFailed(RuntimeError):
    """A gateway did not start; the message has the end of its log."""


class GatewayProgram(ServerProgram):
    """A gateway on 127.0.0.1, as a context manager.

    Args:
        config: its configuration, which has to be there when it starts.
        port: the port on which the configuration lets it listen.
        binary: its program; None: the one that is found.
    """

    FAILED, PORT_IN_USE, POLL = GatewayFailed, "in use", 0.02
    FOLDER = "kato-consul-gateway-"
    RELOAD: ClassVar[signal.Signals | None] = None

    def __init__(self, config: Path, port: int, *, binary: Path | None = None) -> None:
        super().__init__(type(self).__name__)
        self.config = config
        self.port = port
        self.binary = binary if binary is not None else self._find()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self.port}"

    @property
    def reload_command(self) -> str | None:
        """The command line that lets it read its configuration again; None if it needs none."""
        return None if self.RELOAD is None else f"kill -{self.RELOAD.name[3:]} {self.pid}"

    def reload(self) -> None:
        """Let it read its configuration again."""
        if self.RELOAD is not None:
            os.kill(self.pid, self.RELOAD)

    @abstractmethod
    def _find(self) -> Path:
        """Return the path of its program."""

    @abstractmethod
    def _argv(self, folder: Path) -> list[str]:
        """Return its command line; ``folder`` is for files of its own."""

    @property
    def _has_ports(self) -> bool:
        return True

    def _forget_ports(self) -> None:
        """The port is the configuration's."""

    def _program(self) -> ChildProcess:
        folder = self._temporary_folder()
        return ChildProcess(self._argv(folder), name=self._title, log=folder / "gateway.log")

    def _wait_until_ready(self, process: ChildProcess, deadline: float) -> str | None:
        return self._wait_until(process, deadline, self._accepts)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return True


class NginxServer(GatewayProgram):
    """nginx, with a configuration for its http block."""

    RELOAD = signal.SIGHUP

    def _find(self) -> Path:
        return find_program(NGINX)

    def _argv(self, folder: Path) -> list[str]:
        # As root it would use an account that cannot enter the folder.
        user = "user root root;" if os.geteuid() == 0 else ""
        main = folder / "nginx.conf"
        main.write_text(NGINX_MAIN.format(folder=folder, config=self.config, user=user))
        return [str(self.binary), "-c", str(main)]


class HaproxyServer(GatewayProgram):
    """HAProxy, in master-worker mode."""

    RELOAD = signal.SIGUSR2

    def _find(self) -> Path:
        return find_program(HAPROXY)

    def _argv(self, folder: Path) -> list[str]:
        return [str(self.binary), "-W", "-db", "-f", str(self.config)]


class EnvoyServer(GatewayProgram):
    """Envoy. It follows its files by itself."""

    def _find(self) -> Path:
        return find_envoy()

    def _argv(self, folder: Path) -> list[str]:
        options = ["--log-level", "warning", "--disable-hot-restart", "--concurrency", "2"]
        return [str(self.binary), "-c", str(self.config), *options]
