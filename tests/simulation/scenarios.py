"""Simulation scenarios and their figures, in virtual time.

``python -m tests.simulation`` prints the tables of docs/balancing.md.
"""

from dataclasses import dataclass
from functools import partial

from kato_consul._balancing.slow_start import WINDOW
from kato_consul.models import Health
from tests.simulation.client import READ, WRITE, Results, Simulation
from tests.simulation.world import FAILED


@dataclass(frozen=True)
class Figures:
    """The figures of one scenario. Latencies are in seconds.

    ``load``: requests that servers received per call. ``share``: the share of calls served by the
    instance that the scenario is about.
    """

    offered: int
    failed: int
    p50: float
    p95: float
    p99: float
    p999: float
    load: float
    share: float


def _figures(simulation: Simulation, results: Results, instance: str = "") -> Figures:
    total = max(results.served_by.total(), 1)
    return Figures(
        results.offered,
        results.failed,
        p50=results.latency(0.5),
        p95=results.latency(0.95),
        p99=results.latency(0.99),
        p999=results.latency(0.999),
        load=simulation.received / max(results.offered, 1),
        share=results.served_by[instance] / total,
    )


def cold_start(policy: str) -> Figures:
    """A client starts: three idle instances, 100 calls a second for the first ten seconds."""
    simulation = Simulation(policy)
    results = simulation.load(100, 0.0, 10.0)
    simulation.world.run(60.0)
    return _figures(
        simulation, results, max(results.served_by, key=lambda name: results.served_by[name])
    )


def one_slow_of_eleven(policy: str) -> Figures:
    """One of eleven takes two seconds for each request, as in Finagle's experiment.

    1,000 calls a second. No attempt times out, so nothing is ejected and only the policy matters.
    """
    simulation = Simulation(policy, size=11)
    simulation.server_for("kato-06").service_time = lambda: 2.0
    simulation.server_for("kato-06").slots = 10_000
    results = simulation.load(1_000, 0.0, 15.0)
    simulation.world.run(90.0)
    return _figures(simulation, results, "kato-06")


def one_refusing(policy: str) -> Figures:
    """One of three is down but passing in Consul: 100 calls a second for ten seconds."""
    simulation = Simulation(policy)
    simulation.server_for("kato-02").up = False
    results = simulation.load(100, 0.0, 10.0, WRITE)
    simulation.world.run(60.0)
    return _figures(simulation, results, "kato-02")


def one_failing(policy: str) -> Figures:
    """One of three answers each request with 503 within 1 ms. It must not attract load."""
    simulation = Simulation(policy)
    failing = simulation.server_for("kato-02")
    failing.outcome, failing.service_time = FAILED, lambda: 0.001
    results = simulation.load(100, 0.0, 10.0)
    simulation.world.run(60.0)
    return _figures(simulation, results, "kato-02")


def all_failing(policy: str, rate: float = 100.0) -> Figures:
    """All three answer each request with 503 for a minute. Calls have a deadline of 5 s."""
    simulation = Simulation(policy)
    for name in simulation.names:
        simulation.server_for(name).outcome = FAILED
    results = simulation.load(rate, 0.0, 60.0, timeout=5.0)
    simulation.world.run(90.0)
    return _figures(simulation, results)


def all_refusing(policy: str, rate: float = 100.0) -> Figures:
    """All three refuse connections for a minute. Calls have a deadline of 5 s."""
    simulation = Simulation(policy)
    for name in simulation.names:
        simulation.server_for(name).up = False
    results = simulation.load(rate, 0.0, 60.0, timeout=5.0)
    simulation.world.run(90.0)
    return _figures(simulation, results)


def rolling_restart(policy: str) -> Figures:
    """Each of three in turn drains, is down for five seconds, and returns.

    100 calls a second, none of which may be sent twice.
    """
    simulation = Simulation(policy)
    for number, name in enumerate(simulation.names):
        start = 5.0 + 10.0 * number
        simulation.at(start, partial(simulation.publish, **{name: Health.MAINTENANCE}))
        simulation.at(start + 1.0, simulation.server_for(name).kill)
        simulation.at(start + 6.0, simulation.server_for(name).start)
        simulation.at(start + 7.0, partial(simulation.publish, **{name: Health.PASSING}))
    results = simulation.load(100, 0.0, 40.0, WRITE)
    simulation.world.run(90.0)
    return _figures(simulation, results)


def killed(policy: str) -> Figures:
    """One of three is killed, and Consul notices five seconds later.

    Reads: the requests that it was processing may be sent again.
    """
    simulation = Simulation(policy)
    simulation.at(5.0, simulation.server_for("kato-02").kill)
    simulation.at(10.0, lambda: simulation.publish(**{"kato-02": Health.CRITICAL}))
    results = simulation.load(300, 0.0, 20.0)
    simulation.world.run(90.0)
    return _figures(simulation, results, "kato-02")


def scale_out(policy: str) -> list[float]:
    """A fourth instance joins three.

    Returns its share of the calls in the first tenth of slow start, the middle tenth, and after it.
    """
    simulation = Simulation(policy)
    simulation.at(10.0, lambda: simulation.publish(**{"kato-04": Health.PASSING}))
    simulation.server_for("kato-04")
    simulation.load(20, 0.0, 60.0)  # without calls the client does not notice it
    tenth = WINDOW / 10
    windows = [
        simulation.load(200, start, start + tenth, READ)
        for start in (10.01, 10.0 + WINDOW / 2, 10.0 + WINDOW + 1)
    ]
    simulation.world.run(120.0)
    return [results.served_by["kato-04"] / max(results.served_by.total(), 1) for results in windows]
