"""Fault matrix: every fault, sync and async, on real sockets and real processes, must give 0
failed, 0 lost, 0 twice, 0 unknown. The checker uses only the calls' results and KATO's state."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import pytest

from kato_consul.settings import ENGINES
from kato_consul.testing import Fleet
from tests.event_loops import loop_factory
from tests.faults.cells import CELLS, Cell
from tests.faults.conftest import EVERYTHING, OBSERVATIONS
from tests.faults.site import Site, registered
from tests.faults.tally import PROPERTY, Tally
from tests.faults.work import Run, async_run, sync_run


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """An agent and three instances, not registered."""
    with Fleet() as running:
        yield running


@pytest.fixture(scope="module")
def cell_and_site(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[tuple[Cell, Site]]:
    """A cell and its instances, registered under a separate name in Consul."""
    (cell,) = (one for one in CELLS if one.name == request.param)
    proxied = cell.plan is not None
    with registered(fleet, cell.name, proxied=proxied, consul_proxied=cell.consul) as site:
        yield cell, site


def runs() -> Iterator[tuple[str, str, str]]:
    """Return the runs: each cell on both shells; on all engines and event loops if the cell depends
    on them."""
    for cell in CELLS:
        for engine in ENGINES:
            if engine == ENGINES[0] or cell.on_each_engine or EVERYTHING:
                yield cell.name, "async", engine
                yield cell.name, "sync", engine
                if cell.on_each_engine or EVERYTHING:
                    yield cell.name, "uvloop", engine


@pytest.mark.parametrize(
    ("cell_and_site", "shell", "engine"), [*runs()], indirect=["cell_and_site"]
)
def test_exactly_once(
    cell_and_site: tuple[Cell, Site],
    shell: str,
    engine: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Under this fault, KATO has each observation once, in order, and no call failed."""
    cell, site = cell_and_site
    name = f"{cell.name}-{shell}" + ("" if engine == ENGINES[0] else f"-{engine}")
    run = Run(name, OBSERVATIONS, cell.pace, site.url)
    settings = replace(site.settings, engine=engine, **cell.settings)
    before = _injected(site)

    def disturb(run: Run) -> None:
        try:
            if cell.disturb is not None:
                cell.disturb(site, run)
            run.took_effect.set()
            run.over.wait()
        finally:
            site.heal()

    for proxy in site.proxies.values():
        assert cell.plan is not None
        proxy.plan, proxy.hang_for = cell.plan(), cell.hang_for
    if shell == "sync":
        sync_run(settings, run, disturb)
    else:
        async_run(settings, run, disturb, loop_factory("asyncio" if shell == "async" else shell))

    report = run.report()
    tally = Tally(
        cell=run.name,
        observations=report.acknowledged,
        result=f"{report.failed}/{report.lost}/{report.twice}/{report.unknown}",
        injected=_injected(site) - before,
        failovers=sum(facts.failovers for facts in run.facts),
        settlements=sum(facts.settlements for facts in run.facts),
        repairs=sum(facts.repairs for facts in run.facts),
        reopened=sum(facts.reopened for facts in run.facts),
        moves=sum(facts.moves for facts in run.facts),
        worst=run.history.worst.seconds if run.history.worst else 0.0,
        seconds=run.seconds,
    )
    record_property(PROPERTY, asdict(tally))
    assert report.passed, f"{report}\n{tally}"
    assert report.acknowledged >= OBSERVATIONS
    assert [name for name in cell.above_zero if not getattr(tally, name)] == [], tally
    assert [name for name in cell.zero if getattr(tally, name)] == [], tally
    if site.proxies:
        assert tally.injected >= OBSERVATIONS // 24, tally


def _injected(site: Site) -> int:
    return sum(proxy.counts.total() for proxy in site.proxies.values())
