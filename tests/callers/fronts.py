"""What callers are pointed at: `kato-consul proxy` in several ways, and gateways alone.

Each front is in front of the same kind of fleet. All of it are real processes, which are started,
restarted and ended as an operator does it.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from kato_consul import Discovery
from kato_consul.testing import Fleet
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.redis import RedisServer
from tests.cli.running import argv, environment
from tests.gateways.site import GatewaySite, gateway_site
from tests.testing.waiting import eventually

PROXY_SERVICE = "kato-proxy"
PROXIES = 2
"""Proxies behind a gateway."""

ENDED_WITHIN = 60.0
"""Seconds: more than the drain time of a proxy."""

FRONT_RESTARTED, FRONT_KILLED = "front restarted", "front killed"


class Front(ABC):
    """What callers are pointed at. ``KIND`` is what `disturb` does to it."""

    KIND: ClassVar[str] = FRONT_RESTARTED

    def __init__(self, url: str, logs: list[Path]) -> None:
        """``logs`` are those of its proxies."""
        self.url = url
        self.logs = logs

    @abstractmethod
    def disturb(self) -> None:
        """Restart all of it, as an operator does to lose no request; or kill a process of it."""


class ProxyProcesses:
    """Starts and ends processes of `kato-consul proxy`.

    Args:
        fleet: what they are in front of.
        folder: folder for their logs.
        options: of each of them.
    """

    def __init__(self, fleet: Fleet, folder: Path, options: Sequence[str]) -> None:
        self._fleet = fleet
        self._env = environment(fleet.environment)
        self._folder = folder
        self._options = options
        self.logs: list[Path] = []
        self.running: list[ChildProcess] = []

    def start(self, port: int, *options: str) -> ChildProcess:
        """Start a proxy, and wait until it serves."""
        log = self._folder / f"proxy-{len(self.logs)}.log"
        command = argv("proxy", "--listen", f"{HOST}:{port}", *self._options, *options)
        process = ChildProcess(command, name="the proxy", log=log, env=self._env)
        self.logs.append(log)
        process.start()
        self.running.append(process)
        ready = eventually(lambda: not process.running or "serving kato on" in process.log_tail())
        if not (ready and process.running):
            raise RuntimeError(f"the proxy did not start:\n{process.log_tail()}")
        return process

    def wait_until_registered(self, count: int) -> None:
        """Wait until so many are usable in Consul."""
        with Discovery(replace(self._fleet.settings, service=PROXY_SERVICE)) as discovery:
            if not eventually(lambda: len(discovery.snapshot().usable) == count):
                raise RuntimeError(f"not all proxies are registered: {discovery.snapshot()}")

    def end(self, process: ChildProcess) -> None:
        """End a proxy with SIGTERM; RuntimeError if it cut requests."""
        process.terminate(ENDED_WITHIN)
        self.wait_for_end(process)

    def wait_for_end(self, process: ChildProcess) -> None:
        """Wait for a proxy that was told to end; RuntimeError if it cut requests."""
        process.wait(ENDED_WITHIN)
        self.running.remove(process)
        if process.returncode != 0:
            raise RuntimeError(f"a proxy ended with {process.returncode}:\n{process.log_tail()}")

    def kill(self, process: ChildProcess) -> None:
        """Kill a proxy with SIGKILL."""
        process.kill()
        self.running.remove(process)

    def close(self) -> None:
        """Kill all that run."""
        for process in [*self.running]:
            self.kill(process)


class ProxyFront(Front):
    """One proxy, which is replaced by a new process on the same address."""

    def __init__(self, processes: ProxyProcesses) -> None:
        (self._port,) = free_ports(1)
        super().__init__(f"http://{HOST}:{self._port}", processes.logs)
        self._processes = processes
        self._process = processes.start(self._port)

    def disturb(self) -> None:
        """Start the new one, which takes the place of the old one."""
        old = self._process
        self._process = self._processes.start(self._port, "--replace")
        self._processes.wait_for_end(old)


class ProxiesFront(Front):
    """Proxies that are registered in Consul, behind a gateway that routes to them."""

    def __init__(self, processes: ProxyProcesses, gateway: Callable[[], GatewaySite]) -> None:
        self._processes = processes
        self._proxies = {port: processes.start(port) for port in free_ports(PROXIES)}
        processes.wait_until_registered(PROXIES)
        self._gateway = gateway()
        super().__init__(self._gateway.server.url, processes.logs)

    def disturb(self) -> None:
        """End each in its turn, and start it again. It leaves the gateway before it ends."""
        for port, process in self._proxies.items():
            self._processes.end(process)
            self._proxies[port] = self._processes.start(port)
            self._wait_until_all_are_there()

    def _wait_until_all_are_there(self) -> None:
        self._gateway.wait_for(f"{PROXIES} instances of {PROXY_SERVICE}: written")


class KilledProxiesFront(ProxiesFront):
    """The same, of which one after the other is killed."""

    KIND = FRONT_KILLED

    def __init__(self, processes: ProxyProcesses, gateway: Callable[[], GatewaySite]) -> None:
        super().__init__(processes, gateway)
        self._turns = itertools.cycle(self._proxies)

    def disturb(self) -> None:
        """Kill the one whose turn it is; when the gateway has noticed, start it again."""
        port = next(self._turns)
        self._processes.kill(self._proxies[port])
        self._gateway.wait_for(f"{PROXIES - 1} instance of {PROXY_SERVICE}: written")
        self._proxies[port] = self._processes.start(port)
        self._wait_until_all_are_there()


class GatewayFront(Front):
    """A gateway alone, whose configuration `kato-consul gateway` keeps true."""

    def __init__(self, gateway: GatewaySite) -> None:
        super().__init__(gateway.server.url, [])
        self._gateway = gateway

    def disturb(self) -> None:
        """Let it read its configuration again. Envoy needs no restart."""
        self._gateway.server.reload()


@dataclass(frozen=True)
class Way:
    """A way from callers to KATO.

    Attributes:
        title: for the table.
        workers: of each proxy.
        directory: of the proxies' sessions: "consul" or "redis". "" if there are no proxies.
        gateway: "nginx", "haproxy" or "envoy"; "" if there is none.
        is_killed: the proxies behind the gateway are killed, and not restarted.
    """

    title: str
    directory: str = ""
    gateway: str = ""
    workers: int = 1
    is_killed: bool = False

    @property
    def must_not_fail(self) -> bool:
        """Whether no request may fail."""
        return bool(self.directory) and not self.is_killed

    @property
    def must_not_lose(self) -> bool:
        """Whether no observation may be lost or applied twice."""
        return bool(self.directory)


WAYS = {
    "proxy": Way("proxy", "consul"),
    "proxy-redis": Way("proxy, sessions in Redis", "redis"),
    "proxy-workers": Way("proxy, 2 workers", "consul", workers=2),
    "proxies-nginx": Way("2 proxies behind nginx", "consul", "nginx"),
    "proxies-haproxy": Way("2 proxies behind HAProxy", "consul", "haproxy"),
    "proxies-killed": Way("the same, proxies killed", "consul", "haproxy", is_killed=True),
    "nginx": Way("nginx alone", gateway="nginx"),
    "haproxy": Way("HAProxy alone", gateway="haproxy"),
    "envoy": Way("Envoy alone", gateway="envoy"),
}


@contextmanager
def front_of(way: Way, fleet: Fleet, folder: Path) -> Iterator[Front]:
    """Start what is in front of a fleet."""
    with ExitStack() as opened:
        if not way.directory:
            site = opened.enter_context(gateway_site(way.gateway, fleet.agent, "kato", folder))
            yield GatewayFront(site)
            return
        directory = way.directory
        if directory == "redis":
            directory = opened.enter_context(RedisServer()).url
        options = ["--session-directory", directory, "--workers", str(way.workers)]
        if way.gateway:
            options += ["--register", PROXY_SERVICE]
        processes = ProxyProcesses(fleet, folder, options)
        opened.callback(processes.close)
        if not way.gateway:
            yield ProxyFront(processes)
            return

        def gateway() -> GatewaySite:
            site = gateway_site(way.gateway, fleet.agent, PROXY_SERVICE, folder, "--to", "proxies")
            return opened.enter_context(site)

        yield (KilledProxiesFront if way.is_killed else ProxiesFront)(processes, gateway)
