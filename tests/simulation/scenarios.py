"""The scenarios: what happens, and the figures that come of it. All in virtual time.

``python -m tests.simulation`` prints the tables of docs/balancing.md.
"""

from dataclasses import dataclass
from functools import partial

from kato_consul._balancing.slow_start import WINDOW
from kato_consul.models import Health
from tests.simulation.pool import READ, WRITE, Scene, Seen
from tests.simulation.world import FAILED


@dataclass(frozen=True)
class Figures:
    """What one scenario gave. Times in seconds; ``load`` is requests that servers saw, for each
    call; ``extreme`` the share of the instance that the scenario is about."""

    offered: int
    failed: int
    p50: float
    p95: float
    p99: float
    p999: float
    load: float
    extreme: float


def _figures(scene: Scene, seen: Seen, about: str = "") -> Figures:
    total = max(seen.shares.total(), 1)
    return Figures(
        seen.offered,
        seen.failed,
        p50=seen.at(0.5),
        p95=seen.at(0.95),
        p99=seen.at(0.99),
        p999=seen.at(0.999),
        load=scene.asked / max(seen.offered, 1),
        extreme=seen.shares[about] / total,
    )


def cold_start(policy: str) -> Figures:
    """A client starts: three idle instances, 100 calls a second, the first ten seconds."""
    scene = Scene(policy)
    seen = scene.load(100, 0.0, 10.0)
    scene.world.run(60.0)
    return _figures(scene, seen, max(seen.shares, key=lambda name: seen.shares[name]))


def one_slow_of_eleven(policy: str) -> Figures:
    """One of eleven takes two seconds for each request, as in Finagle's experiment; 1,000 calls a
    second. None times out, so ejection has no part in it: it is the policy alone."""
    scene = Scene(policy, size=11)
    scene.server_for("kato-06").takes = lambda: 2.0
    scene.server_for("kato-06").slots = 10_000
    seen = scene.load(1_000, 0.0, 15.0)
    scene.world.run(90.0)
    return _figures(scene, seen, "kato-06")


def one_refusing(policy: str) -> Figures:
    """One of three is gone, and Consul has not noticed: 100 calls a second for ten seconds."""
    scene = Scene(policy)
    scene.server_for("kato-02").up = False
    seen = scene.load(100, 0.0, 10.0, WRITE)
    scene.world.run(60.0)
    return _figures(scene, seen, "kato-02")


def one_failing(policy: str) -> Figures:
    """One of three answers 503 to everything, quickly: it must not draw the load."""
    scene = Scene(policy)
    bad = scene.server_for("kato-02")
    bad.says, bad.takes = FAILED, lambda: 0.001
    seen = scene.load(100, 0.0, 10.0)
    scene.world.run(60.0)
    return _figures(scene, seen, "kato-02")


def all_failing(policy: str, rate: float = 100.0) -> Figures:
    """All three answer 503 to everything for a minute. Callers have 5 s of patience."""
    scene = Scene(policy)
    for name in scene.names:
        scene.server_for(name).says = FAILED
    seen = scene.load(rate, 0.0, 60.0, patience=5.0)
    scene.world.run(90.0)
    return _figures(scene, seen)


def all_refusing(policy: str, rate: float = 100.0) -> Figures:
    """All three are gone for a minute."""
    scene = Scene(policy)
    for name in scene.names:
        scene.server_for(name).up = False
    seen = scene.load(rate, 0.0, 60.0, patience=5.0)
    scene.world.run(90.0)
    return _figures(scene, seen)


def rolling_restart(policy: str) -> Figures:
    """Each of three in turn drains, is away for five seconds, and comes back: 100 calls a second,
    none of which may be sent twice."""
    scene = Scene(policy)
    for number, name in enumerate(scene.names):
        begin = 5.0 + 10.0 * number
        scene.at(begin, partial(scene.publish, **{name: Health.MAINTENANCE}))
        scene.at(begin + 1.0, scene.server_for(name).kill)
        scene.at(begin + 6.0, scene.server_for(name).start)
        scene.at(begin + 7.0, partial(scene.publish, **{name: Health.PASSING}))
    seen = scene.load(100, 0.0, 40.0, WRITE)
    scene.world.run(90.0)
    return _figures(scene, seen)


def killed(policy: str) -> Figures:
    """One of three is killed; Consul notices five seconds later. Reads: what was in its hands may
    be asked again."""
    scene = Scene(policy)
    scene.at(5.0, scene.server_for("kato-02").kill)
    scene.at(10.0, lambda: scene.publish(**{"kato-02": Health.CRITICAL}))
    seen = scene.load(300, 0.0, 20.0)
    scene.world.run(90.0)
    return _figures(scene, seen, "kato-02")


def scale_out(policy: str) -> list[float]:
    """A fourth joins three: its share of the calls in the first tenth of the slow start, in the
    middle tenth, and after it."""
    scene = Scene(policy)
    scene.at(10.0, lambda: scene.publish(**{"kato-04": Health.PASSING}))
    scene.server_for("kato-04")
    scene.load(20, 0.0, 60.0)  # a client that calls nobody sees nobody come
    tenth = WINDOW / 10
    windows = [
        scene.load(200, begin, begin + tenth, READ)
        for begin in (10.01, 10.0 + WINDOW / 2, 10.0 + WINDOW + 1)
    ]
    scene.world.run(120.0)
    return [seen.shares["kato-04"] / max(seen.shares.total(), 1) for seen in windows]
