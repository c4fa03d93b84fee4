"""The servers of a run: an agent, three instances, and a Redis if it is the directory.

Each process reaches its directory by way of a proxy of its own, so that it can be cut off.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from kato_consul import Settings
from kato_consul.testing import ConsulAgent, Fleet
from kato_consul.testing.kato.instance import StandInKato
from kato_consul.testing.redis import RedisServer
from tests.directory.tcp_proxy import TcpProxy

SLOW = 0.01
"""Seconds between an instance's reading of a session and its writing back: about KATO's own."""


@dataclass
class Site:
    """The servers. ``directory`` is the one that holds the session directory."""

    fleet: Fleet
    directory: ConsulAgent | RedisServer
    proxies: ExitStack = field(default_factory=ExitStack)

    @property
    def instances(self) -> list[StandInKato]:
        """The instances."""
        return list(self.fleet.instances.values())

    @property
    def settings(self) -> Settings:
        """The settings of a client, without a proxy."""
        return Settings(
            consul_addr=self.fleet.agent.http_addr,
            session_directory=self.directory_setting(None),
            deadline=60.0,
            trust_env=False,
        )

    def new_proxy(self) -> TcpProxy:
        """Return a new proxy before the directory."""
        if isinstance(self.directory, RedisServer):
            port = self.directory.port
        else:
            port = int(self.directory.http_addr.rpartition(":")[2])
        return self.proxies.enter_context(TcpProxy(port))

    def directory_setting(self, proxy: TcpProxy | None) -> str:
        """Return ``session_directory`` for a process with this proxy."""
        if not isinstance(self.directory, RedisServer):
            return "consul"
        return self.directory.url if proxy is None else proxy.url

    def consul_setting(self, proxy: TcpProxy) -> str:
        """Return Consul's address for a process with this proxy."""
        if isinstance(self.directory, RedisServer):
            return self.fleet.agent.http_addr
        return f"127.0.0.1:{proxy.port}"


@contextmanager
def running(directory: str) -> Iterator[Site]:
    """Run the servers with this directory: ``consul`` or ``redis``."""
    with Fleet(3, registered=True, interval="300ms") as fleet, ExitStack() as opened:
        for one in fleet.instances.values():
            one.switch(slow=SLOW)
        held = fleet.agent if directory == "consul" else opened.enter_context(RedisServer())
        yield Site(fleet, held, opened)
