"""A service of three instances with scripted outcomes."""

import math

from kato_consul._balancing.pool import Pool
from kato_consul._balancing.rendezvous import rank
from kato_consul._flow import Outcome, Reply
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul._requests.request import Answer, Request, RoutingHint
from kato_consul.models import Instance
from kato_consul.testing.clock import ManualClock
from tests.building import instance, reply, script, snapshot
from tests.flows import Player

KEY = "session-1"
HINT = RoutingHint(KEY)
BEGIN = 1_000.0

# In the order in which the key ranks them.
FIRST, SECOND, THIRD = rank(KEY, [instance(f"kato-{number}") for number in (1, 2, 3)])
ALL = (FIRST, SECOND, THIRD)

WRITE = Request("observe", "POST", "/observe", b"{}")
READ = Request("stm", "GET", "/stm", repeatable=True)
OK = reply(200, {"status": "okay"})
LIMIT = Reply(503, {"content-type": "text/plain", "connection": "close"}, b"Service Unavailable")


def largest() -> float:
    """Return the largest value of a random source."""
    return math.nextafter(1.0, 0.0)


class ScriptedService:
    """A service with scripted outcomes, and a `Failover` that calls it.

    Random values are always the largest.
    """

    def __init__(self, *outcomes: Outcome, instances: tuple[Instance, ...] | None = ALL) -> None:
        self.clock = ManualClock(BEGIN)
        self.store = SnapshotStore("kato")
        if instances is not None:
            self.store.publish(snapshot(*instances))
        self.pool = Pool(self.clock, largest)
        self.failover = Failover(self.store, self.pool, self.clock, largest)
        self.player = Player(script(outcomes, self.clock), clock=self.clock)

    def call(self, request: Request = WRITE, *, within: float = 30.0) -> Answer:
        """Call with a deadline in ``within`` seconds."""
        return self.player.play(self.failover.call(request, self.clock() + within, HINT))

    @property
    def origins(self) -> list[str]:
        """The origins that requests were sent to, in order."""
        return [send.origin for send in self.player.sent]


def origins_of(*instances: Instance) -> list[str]:
    """Return the origins of these instances."""
    return [each.origin for each in instances]
