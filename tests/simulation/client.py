"""Simulated client: calls a pool of servers at a steady rate and counts the results."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from kato_consul._balancing.policies import POLICIES
from kato_consul._balancing.pool import Pool
from kato_consul._flow import Flow
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul._requests.request import Request
from kato_consul.models import Health, Snapshot
from tests.building import instance
from tests.simulation.world import Server, World

READ = Request("read", "GET", "/", repeatable=True)
WRITE = Request("write", "POST", "/", b"{}")
MEDIAN = 0.01
"""Seconds: the median of a server's service time. A tenth of the requests take twice as long."""


@dataclass
class Results:
    """Results of the calls that started in a window of time."""

    offered: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    served_by: Counter[str] = field(default_factory=Counter)

    def latency(self, quantile: float) -> float:
        """Return the latency quantile of the calls that succeeded, in seconds; 0 if none did."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]


class Simulation:
    """A client with a policy, and ``size`` servers that are passing in Consul."""

    def __init__(self, policy: str = "p2c", *, size: int = 3, seed: int = 7) -> None:
        self.world = World(seed)
        self.store = SnapshotStore("kato")
        self.names = [f"kato-{number:02}" for number in range(1, size + 1)]
        self.health: dict[str, Health] = dict.fromkeys(self.names, Health.PASSING)
        random = self.world.random.random
        self.pool = Pool(self.world.clock, random, POLICIES[policy]())
        self.failover = Failover(self.store, self.pool, self.world.clock, random)
        for name in self.names:
            self.server_for(name)
        self.publish()

    def server_for(self, name: str) -> Server:
        """Return the server of an instance, created if needed."""
        origin = instance(name).origin
        servers = self.world.servers
        if origin not in servers:
            servers[origin] = Server(self.world, self._service_time)
        return servers[origin]

    def publish(self, **changes: Health | None) -> None:
        """Publish a snapshot with these health changes; None deregisters an instance."""
        for name, health in changes.items():
            if health is None:
                self.health.pop(name)
            else:
                self.health[name] = health
        instances = [instance(name, health) for name, health in sorted(self.health.items())]
        self.store.publish(Snapshot("kato", tuple(instances), 1))

    def load(
        self, rate: float, start: float, end: float, request: Request = READ, timeout: float = 30.0
    ) -> Results:
        """Schedule calls at random moments, ``rate`` a second on average.

        The results are filled in while the simulation runs.
        """
        results = Results()

        def call() -> None:
            if self.world.now < end:
                self._call(results, request, timeout)
                self.world.after(self.world.random.expovariate(rate), call)

        self.world.after(start, call)
        return results

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Schedule an action at a time."""
        self.world.after(seconds - self.world.now, action)

    @property
    def received(self) -> int:
        """The number of requests that servers received or refused."""
        return sum(server.received for server in self.world.servers.values())

    def _call(self, results: Results, request: Request, timeout: float) -> None:
        started_at = self.world.now
        results.offered += 1

        def finish(error: Exception | None) -> None:
            if error is None:
                results.latencies.append(self.world.now - started_at)
            else:
                results.failed += 1

        def flow() -> Flow[None]:
            answer = yield from self.failover.call(request, self.world.clock.now + timeout)
            results.served_by[answer.instance.id] += 1

        self.world.start(flow(), finish)

    def _service_time(self) -> float:
        return MEDIAN * self.world.random.lognormvariate(0.0, 0.54)
