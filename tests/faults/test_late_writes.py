"""Late writes: writes that land after the client has moved on, on real sockets."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kato_consul import KatoClient, Session
from kato_consul.testing import Fleet
from kato_consul.testing.fault_plan import Fault, every, is_observation, no_fault
from kato_consul.testing.history import read_session
from tests.faults.site import Site, registered


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances: one that hangs, and another."""
    with Fleet(2) as running:
        yield running


@pytest.fixture
def site(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Both instances behind proxies, under the test's own service name."""
    with registered(fleet, request.node.name.replace("_", "-"), proxied=True) as running:
        yield running
        running.heal()


@pytest.fixture
def kato(site: Site) -> Iterator[KatoClient]:
    """A client with an attempt timeout of 3 s."""
    with KatoClient(replace(site.settings, attempt_timeout=3.0)) as running:
        yield running


def observe_each(session: Session, *symbols: str) -> None:
    """Observe symbols one by one."""
    for symbol in symbols:
        session.observe([symbol])


def hang_once(site: Site, session: Session, symbol: str) -> str:
    """Observe a symbol: the primary hangs with it, the other applies it. Return the primary."""
    primary = str(session.facts.instance)
    site.proxies[primary].plan = every(1, Fault.HANG)
    observe_each(session, symbol)
    site.proxies[primary].plan = no_fault
    assert session.facts.settlements == 1
    return primary


def test_a_late_write_after_newer_ones_is_removed(site: Site, kato: KatoClient) -> None:
    """A late write that lands after newer observations is found and repaired at the next call."""
    session = kato.session("on top")
    observe_each(session, "a", "b")
    primary = hang_once(site, session, "x")
    observe_each(session, "y")
    site.proxies[primary].release()
    site.proxies[primary].wait_idle()
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "x"]
    observe_each(session, "z")
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "z"]
    assert session.facts.repairs == 1


def test_a_late_write_that_overwrites_another_is_repaired(site: Site, kato: KatoClient) -> None:
    """A late write that overwrites a concurrent one leaves the counter right and the memory wrong.
    It is found and repaired at the next call all the same."""
    session = kato.session("in place")
    observe_each(session, "a", "b")
    primary = hang_once(site, session, "x")
    (other,) = set(site.instances) - {primary}
    # The other reads the session, works for 1.5 s and saves; in between the late one reads it too,
    # and saves last.
    site.instances[primary].switch(slow=3.0)
    site.instances[other].switch(slow=1.5)
    arrived = threading.Event()

    def record_arrival(method: str, path: str) -> None:
        if is_observation(method, path):
            arrived.set()

    site.proxies[other].plan = record_arrival
    with site.proxies[primary].refusing():
        observing = threading.Thread(target=observe_each, args=(session, "y"))
        observing.start()
        assert arrived.wait(10.0)
        site.proxies[primary].release()
        observing.join()
    site.proxies[primary].wait_idle()
    for one in site.instances.values():
        one.switch(slow=0.0)
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "x"], (
        "the late write did not overwrite the other"
    )
    observe_each(session, "z")
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "z"]
