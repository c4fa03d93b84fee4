"""Cells of the fault matrix: the fault, its duration, and the effects that must be observed."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kato_consul.models import Health
from kato_consul.testing import flush_sessions
from kato_consul.testing.fault_plan import Fault, Plan, any_request, at_random, every
from kato_consul.testing.kato.switches import StoreState
from tests.faults.site import Site
from tests.faults.work import Pace, Run
from tests.testing.waiting import eventually

Disturb = Callable[[Site, Run], None]

TWELFTH = 12  # 8 % of the observations
ATTEMPT_TIMEOUT = 1.0  # seconds that one attempt may take, where an instance does not respond
HUNG_BEYOND = 0.7  # seconds beyond that for which an instance does not respond


@dataclass(frozen=True)
class Cell:
    """One fault. ``plan`` returns a new plan for each proxy; ``disturb`` runs beside the work.

    ``consul``: the fault is in the connection to Consul. ``settings`` are the client's. Of the
    `Tally`, the figures in ``above_zero`` must be above 0, otherwise the cell proves nothing. Those
    in ``zero`` must be 0. ``on_each_engine``: the result depends on whether the request was sent,
    which the engine reports. The other cells do not depend on the engine.
    """

    name: str
    plan: Callable[[], Plan] | None = None
    disturb: Disturb | None = None
    consul: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    hang_for: float | None = None
    on_each_engine: bool = False
    above_zero: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()


def each_twelfth(*faults: Fault) -> Callable[[], Plan]:
    """Return a plan factory that injects a fault into each twelfth observation."""
    return lambda: every(TWELFTH, *faults)


def any_request_at_random() -> Plan:
    """Inject short faults into requests of any kind, also those that settle and repair."""
    faults = [one for one in Fault if not one.name.startswith("HANG")]
    return at_random(1 / TWELFTH, *faults, rng=random.Random(8), matching=any_request)


def killed(site: Site, run: Run) -> None:
    """Kill and restart one instance after the other, in the middle of requests."""
    for one in site.instances.values():
        one.switch(slow=0.02)
    while run.wait_for(20):
        victim = site.instances[site.busiest(run)]
        victim.kill()
        run.wait_for(20)
        victim.start()
        run.took_effect.set()


def stopped(site: Site, run: Run) -> None:
    """SIGSTOP for longer than an attempt may take, then SIGCONT: writes in flight land late."""
    for one in site.instances.values():
        one.switch(slow=0.1)
    while run.wait_for(20):
        victim = site.instances[site.busiest(run)]
        victim.freeze()
        run.over.wait(ATTEMPT_TIMEOUT + HUNG_BEYOND)
        victim.thaw()
        site.wait_for_late_writes([one.id for one in run.sessions], victim)
        run.took_effect.set()


def store_is(state: StoreState, seconds: float) -> Disturb:
    """Switch the store of all instances to this state for some seconds, repeatedly."""

    def disturb(site: Site, run: Run) -> None:
        while run.wait_for(40):
            for one in site.instances.values():
                one.switch(store=state)
            run.over.wait(seconds)
            for one in site.instances.values():
                one.switch(store="up")
            run.took_effect.set()
            run.wait_for(100)

    return disturb


def flushed(site: Site, run: Run) -> None:
    """Flush the store. All eight sessions are hit, so once in 100 observations makes 8 %."""
    while run.wait_for(40):
        flush_sessions(site.fleet.folder / "store.sqlite")
        run.took_effect.set()
        run.wait_for(60)


def drained(site: Site, run: Run) -> None:
    """Rolling restart: maintenance, wait until the client has seen it, restart, maintenance off."""
    for one in site.instances.values():
        one.switch(slow=0.02)
    for service_id in itertools.cycle(site.instances):
        if not run.wait_for(20):
            break
        site.fleet.agent.cli("maint", "-enable", f"-service={service_id}", "-reason=restart")
        try:
            assert _becomes(run, service_id, Health.MAINTENANCE)
            _let_calls_end(site, run)
            site.instances[service_id].restart()
        finally:
            site.fleet.agent.cli("maint", "-disable", f"-service={service_id}")
        assert _becomes(run, service_id, Health.PASSING)
        run.took_effect.set()


def consul_unreachable(site: Site, run: Run) -> None:
    """Cut the connection to Consul, then kill an instance: the client is not informed of it."""
    for one in site.instances.values():
        one.switch(slow=0.02)
    while run.wait_for(20):
        site.cut_consul_off()
        victim = site.instances[site.busiest(run)]
        victim.kill()
        run.wait_for(40)
        victim.start()
        run.wait_for(40)
        site.connect_consul()
        run.took_effect.set()


def _becomes(run: Run, service_id: str, health: Health) -> bool:
    """Wait until the client's snapshot has the instance with this health."""

    def has_health() -> bool:
        snapshot = run.snapshot()
        instances = snapshot.instances if snapshot is not None else ()
        return any(one.id == service_id and one.health is health for one in instances)

    return eventually(has_health)


def _let_calls_end(site: Site, run: Run) -> None:
    """Wait for two calls of each session: then no call is in flight that used an older snapshot."""
    before = _acknowledged(run)

    def have_ended() -> bool:
        now = _acknowledged(run)
        return run.over.is_set() or all(now[key] >= before[key] + 2 for key in run.keys)

    assert eventually(have_ended)


def _acknowledged(run: Run) -> Counter[str]:
    """Return the number of acknowledged calls of each session."""
    return Counter(call.key for call in tuple(run.history.calls) if call.acknowledged)


SHORT_ATTEMPTS = {"attempt_timeout": ATTEMPT_TIMEOUT}

CELLS = [
    Cell(
        "cut-before",
        each_twelfth(Fault.CUT_BEFORE),
        on_each_engine=True,
        above_zero=("failovers",),
        zero=("reopened",),
    ),
    Cell(
        "cut-request",
        each_twelfth(Fault.CUT_REQUEST),
        on_each_engine=True,
        above_zero=("settlements",),
        zero=("repairs",),
    ),
    Cell(
        "cut-applied",
        each_twelfth(Fault.CUT_APPLIED),
        on_each_engine=True,
        above_zero=("settlements",),
        zero=("repairs",),
    ),
    Cell(
        "half-answer",
        each_twelfth(Fault.HALF_ANSWER),
        on_each_engine=True,
        above_zero=("settlements",),
        zero=("repairs",),
    ),
    Cell(
        "hang",
        each_twelfth(Fault.HANG, Fault.HANG_APPLIED),
        settings=SHORT_ATTEMPTS,
        pace=Pace(0.05),
        hang_for=ATTEMPT_TIMEOUT + HUNG_BEYOND,
        above_zero=("settlements", "moves"),
        zero=("repairs",),
    ),
    Cell(
        "limit-503", each_twelfth(Fault.LIMIT_503), above_zero=("failovers",), zero=("settlements",)
    ),
    Cell(
        "gateway-502",
        each_twelfth(Fault.STATUS_502, Fault.STATUS_502_APPLIED),
        above_zero=("settlements",),
        zero=("repairs",),
    ),
    Cell(
        "gateway-504",
        each_twelfth(Fault.STATUS_504, Fault.STATUS_504_APPLIED),
        above_zero=("settlements",),
        zero=("repairs",),
    ),
    Cell(
        "any-request",
        any_request_at_random,
        on_each_engine=True,
        above_zero=("failovers", "settlements"),
        zero=("reopened",),
    ),
    Cell(
        "consul-unreachable",
        disturb=consul_unreachable,
        consul=True,
        pace=Pace(0.02),
        above_zero=("interrupted",),
        zero=("reopened",),
    ),
    Cell(
        "sigkill",
        disturb=killed,
        on_each_engine=True,
        pace=Pace(0.02),
        above_zero=("interrupted",),
        zero=("reopened",),
    ),
    Cell(
        "sigstop",
        disturb=stopped,
        settings=SHORT_ATTEMPTS,
        pace=Pace(0.02),
        above_zero=("settlements",),
        zero=("reopened",),
    ),
    Cell("store-down", disturb=store_is("down", 2.0), pace=Pace(0.02), zero=("reopened",)),
    Cell(
        "store-full",
        disturb=store_is("full", 2.0),
        pace=Pace(0.02),
        above_zero=("repairs",),
        zero=("reopened",),
    ),
    Cell(
        "store-hung",
        disturb=store_is("hung", 2.0),
        settings=SHORT_ATTEMPTS,
        pace=Pace(0.02),
        above_zero=("settlements",),
        zero=("reopened",),
    ),
    Cell("store-flushed", disturb=flushed, pace=Pace(0.02), above_zero=("reopened",)),
    Cell(
        "session-expired",
        settings={"session_ttl": 2},
        pace=Pace(idle=2.5),
        above_zero=("reopened",),
    ),
    Cell(
        "draining",
        disturb=drained,
        pace=Pace(0.02),
        zero=("failovers", "settlements", "repairs", "reopened"),
    ),
]
