"""A call against three instances that answer by a script."""

import math

from kato_consul._balancing.pool import Pool
from kato_consul._balancing.rendezvous import rank
from kato_consul._flow import Outcome, Reply
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Answer, Failover, Request, RoutingHint
from kato_consul.models import Instance
from kato_consul.testing.clock import ManualClock
from tests.building import instance, reply, script, snapshot
from tests.flows import Player

KEY = "session-1"
PLACE = RoutingHint(KEY)
BEGIN = 1_000.0

# As the key ranks them, so that the tests can speak of the first, the second and the third.
FIRST, SECOND, THIRD = rank(KEY, [instance(f"kato-{number}") for number in (1, 2, 3)])
ALL = (FIRST, SECOND, THIRD)

WRITE = Request("observe", "POST", "/observe", b"{}")
READ = Request("stm", "GET", "/stm", repeatable=True)
GOOD = reply(200, {"status": "okay"})
LIMIT = Reply(503, {"content-type": "text/plain", "connection": "close"}, b"Service Unavailable")


def most() -> float:
    """Chance at its most."""
    return math.nextafter(1.0, 0.0)


class Calling:
    """A call against instances that answer by a script; chance is always at its most."""

    def __init__(self, *outcomes: Outcome, instances: tuple[Instance, ...] | None = ALL) -> None:
        self.clock = ManualClock(BEGIN)
        self.store = SnapshotStore("kato")
        if instances is not None:
            self.store.publish(snapshot(*instances))
        self.pool = Pool(self.clock, most)
        self.failover = Failover(self.store, self.pool, self.clock, most)
        self.player = Player(script(outcomes, self.clock), clock=self.clock)

    def call(self, request: Request = WRITE, *, within: float = 30.0) -> Answer:
        """Make the call, which may take ``within`` seconds."""
        return self.player.play(self.failover.call(request, self.clock() + within, PLACE))

    @property
    def asked(self) -> list[str]:
        """The instances that were asked, in order."""
        return [send.origin for send in self.player.sent]


def origins(*instances: Instance) -> list[str]:
    """Where these are."""
    return [one.origin for one in instances]
