"""A client's calls against a pool of servers, at a steady rate, and what became of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from kato_consul._balancing.policies import POLICIES
from kato_consul._balancing.pool import Pool
from kato_consul._flow import Flow
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover, Request
from kato_consul.models import Health, Snapshot
from tests.building import instance
from tests.simulation.world import Server, World

READ = Request("read", "GET", "/", repeatable=True)
WRITE = Request("write", "POST", "/", b"{}")
MEDIAN = 0.01
"""Seconds that a server takes for half of its requests; a tenth take twice as long."""


@dataclass
class Seen:
    """What became of the calls that began in a window of time."""

    offered: int = 0
    failed: int = 0
    times: list[float] = field(default_factory=list)
    shares: Counter[str] = field(default_factory=Counter)

    def at(self, share: float) -> float:
        """Seconds within which that share of the calls that ended well did; 0 when none did."""
        if not self.times:
            return 0.0
        ordered = sorted(self.times)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Scene:
    """A world with a client, ``size`` servers that Consul calls passing, and a policy."""

    def __init__(self, policy: str = "p2c", *, size: int = 3, seed: int = 7) -> None:
        self.world = World(seed)
        self.store = SnapshotStore("kato")
        self.names = [f"kato-{number:02}" for number in range(1, size + 1)]
        self.health: dict[str, Health] = dict.fromkeys(self.names, Health.PASSING)
        chance = self.world.chance.random
        self.pool = Pool(self.world.clock, chance, POLICIES[policy]())
        self.failover = Failover(self.store, self.pool, self.world.clock, chance)
        for name in self.names:
            self.server_for(name)
        self.publish()

    def server_for(self, name: str) -> Server:
        """The server behind an instance; a new one unless there is one."""
        origin = instance(name).origin
        servers = self.world.servers
        if origin not in servers:
            servers[origin] = Server(self.world, self._usual)
        return servers[origin]

    def publish(self, **changes: Health | None) -> None:
        """Let Consul say how instances are; None takes one out."""
        for name, health in changes.items():
            if health is None:
                self.health.pop(name)
            else:
                self.health[name] = health
        instances = [instance(name, health) for name, health in sorted(self.health.items())]
        self.store.publish(Snapshot("kato", tuple(instances), 1))

    def load(
        self, rate: float, begin: float, end: float, request: Request = READ, patience: float = 30.0
    ) -> Seen:
        """Calls at random moments, ``rate`` a second on average. Filled in as the world runs."""
        seen = Seen()

        def call() -> None:
            if self.world.now < end:
                self._call(seen, request, patience)
                self.world.after(self.world.chance.expovariate(rate), call)

        self.world.after(begin, call)
        return seen

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen then."""
        self.world.after(seconds - self.world.now, what)

    @property
    def asked(self) -> int:
        """Requests that reached servers, or were refused by them."""
        return sum(server.asked for server in self.world.servers.values())

    def _call(self, seen: Seen, request: Request, patience: float) -> None:
        began = self.world.now
        seen.offered += 1

        def ended(error: Exception | None) -> None:
            if error is None:
                seen.times.append(self.world.now - began)
            else:
                seen.failed += 1

        def flow() -> Flow[None]:
            answer = yield from self.failover.call(request, self.world.clock.now + patience)
            seen.shares[answer.instance.id] += 1

        self.world.start(flow(), ended)

    def _usual(self) -> float:
        return MEDIAN * self.world.chance.lognormvariate(0.0, 0.54)
