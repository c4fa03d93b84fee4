"""The cells of the fault matrix: what strikes, how long, and what must be seen to have struck."""

import itertools
import random
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
ATTEMPT = 1.0  # seconds that one attempt may take, where silence is part of the cell
LONGER = 0.7  # seconds that an instance is silent beyond that


@dataclass(frozen=True)
class Cell:
    """One fault. ``plan`` is a proxy's, made anew for each; ``disturb`` runs beside the work.

    ``consul``: it is about the way to Consul. ``settings`` are the client's. Of a `Tally`'s figures
    those in ``seen`` must be above 0, or the cell proves nothing, and those in ``none`` must be 0.
    ``on_each_engine``: whether a request left decides here, and the engine says it. The other cells
    are about what lies above.
    """

    name: str
    plan: Callable[[], Plan] | None = None
    disturb: Disturb | None = None
    consul: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    hang_for: float | None = None
    on_each_engine: bool = False
    seen: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


def struck_by(*faults: Fault) -> Callable[[], Plan]:
    """Each twelfth observation meets a fault."""
    return lambda: every(TWELFTH, *faults)


def struck_anywhere() -> Plan:
    """Any request may meet any fault that is over soon: those that settle and repair as well."""
    faults = [one for one in Fault if not one.name.startswith("HANG")]
    return at_random(1 / TWELFTH, *faults, chance=random.Random(8), matching=any_request)


def killed(site: Site, run: Run) -> None:
    """SIGKILL and a restart, one instance after the other, in the middle of requests."""
    for one in site.instances.values():
        one.switch(slow=0.02)
    while run.wait_for(20):
        victim = site.instances[site.busiest(run)]
        victim.kill()
        run.wait_for(20)
        victim.start()
        run.struck.set()


def stopped(site: Site, run: Run) -> None:
    """SIGSTOP for longer than an attempt may take, then SIGCONT: what was in hand lands late."""
    for one in site.instances.values():
        one.switch(slow=0.1)
    while run.wait_for(20):
        victim = site.instances[site.busiest(run)]
        victim.freeze()
        run.over.wait(ATTEMPT + LONGER)
        victim.thaw()
        site.let_land([one.id for one in run.sessions], victim)
        run.struck.set()


def store_is(state: StoreState, seconds: float) -> Disturb:
    """All instances see their store like this for some seconds, again and again."""

    def disturb(site: Site, run: Run) -> None:
        while run.wait_for(40):
            for one in site.instances.values():
                one.switch(store=state)
            run.over.wait(seconds)
            for one in site.instances.values():
                one.switch(store="up")
            run.struck.set()
            run.wait_for(100)

    return disturb


def flushed(site: Site, run: Run) -> None:
    """The store loses all sessions: each meets it, so once in a hundred observations are 8 %."""
    while run.wait_for(40):
        flush_sessions(site.fleet.folder / "store.sqlite")
        run.struck.set()
        run.wait_for(60)


def drained(site: Site, run: Run) -> None:
    """A rolling restart: maintenance, wait until the client knows, restart, back to work."""
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
        run.struck.set()


def consul_is_away(site: Site, run: Run) -> None:
    """The way to Consul is cut; then an instance is killed, of which nobody tells the client."""
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
        run.struck.set()


def _becomes(run: Run, service_id: str, health: Health) -> bool:
    """Wait until the client sees the instance like that."""

    def is_so() -> bool:
        snapshot = run.snapshot()
        instances = snapshot.instances if snapshot is not None else ()
        return any(one.id == service_id and one.health is health for one in instances)

    return eventually(is_so)


def _let_calls_end(site: Site, run: Run) -> None:
    """Each session's next call comes to an end: none is on its way by an older snapshot."""
    run.wait_for(3 * len(run.sessions))


QUICK = {"attempt_timeout": ATTEMPT}

CELLS = [
    Cell(
        "cut-before",
        struck_by(Fault.CUT_BEFORE),
        on_each_engine=True,
        seen=("failovers",),
        none=("reopened",),
    ),
    Cell(
        "cut-request",
        struck_by(Fault.CUT_REQUEST),
        on_each_engine=True,
        seen=("settlements",),
        none=("repairs",),
    ),
    Cell(
        "cut-applied",
        struck_by(Fault.CUT_APPLIED),
        on_each_engine=True,
        seen=("settlements",),
        none=("repairs",),
    ),
    Cell(
        "half-answer",
        struck_by(Fault.HALF_ANSWER),
        on_each_engine=True,
        seen=("settlements",),
        none=("repairs",),
    ),
    Cell(
        "hang",
        struck_by(Fault.HANG, Fault.HANG_APPLIED),
        settings=QUICK,
        pace=Pace(0.05),
        hang_for=ATTEMPT + LONGER,
        seen=("settlements", "repairs"),
    ),
    Cell("limit-503", struck_by(Fault.LIMIT_503), seen=("failovers",), none=("settlements",)),
    Cell(
        "gateway-502",
        struck_by(Fault.STATUS_502, Fault.STATUS_502_APPLIED),
        seen=("settlements",),
        none=("repairs",),
    ),
    Cell(
        "gateway-504",
        struck_by(Fault.STATUS_504, Fault.STATUS_504_APPLIED),
        seen=("settlements",),
        none=("repairs",),
    ),
    Cell(
        "any-request",
        struck_anywhere,
        on_each_engine=True,
        seen=("failovers", "settlements"),
        none=("reopened",),
    ),
    Cell(
        "consul-away",
        disturb=consul_is_away,
        consul=True,
        pace=Pace(0.02),
        seen=("met",),
        none=("reopened",),
    ),
    Cell(
        "sigkill",
        disturb=killed,
        on_each_engine=True,
        pace=Pace(0.02),
        seen=("met",),
        none=("reopened",),
    ),
    Cell(
        "sigstop",
        disturb=stopped,
        settings=QUICK,
        pace=Pace(0.02),
        seen=("settlements",),
        none=("reopened",),
    ),
    Cell("store-down", disturb=store_is("down", 2.0), pace=Pace(0.02), none=("reopened",)),
    Cell(
        "store-full",
        disturb=store_is("full", 2.0),
        pace=Pace(0.02),
        seen=("repairs",),
        none=("reopened",),
    ),
    Cell(
        "store-silent",
        disturb=store_is("hung", 2.0),
        settings=QUICK,
        pace=Pace(0.02),
        seen=("settlements",),
        none=("reopened",),
    ),
    Cell("store-flushed", disturb=flushed, pace=Pace(0.02), seen=("reopened",)),
    Cell("session-expired", settings={"session_ttl": 1}, pace=Pace(idle=1.3), seen=("reopened",)),
    Cell(
        "draining",
        disturb=drained,
        pace=Pace(0.02),
        none=("failovers", "settlements", "repairs", "reopened"),
    ),
]
