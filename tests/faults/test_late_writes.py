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


def test_a_late_write_after_newer_ones_reaches_no_memory(site: Site, kato: KatoClient) -> None:
    """A late write lands after newer observations, in a session that was left."""
    session = kato.session("on top")
    observe_each(session, "a", "b")
    left = session.id
    primary = hang_once(site, session, "x")
    observe_each(session, "y")
    assert session.id != left
    site.proxies[primary].release()
    site.proxies[primary].wait_idle()
    assert symbols_of(site, session) == ["a", "b", "x", "y"]
    observe_each(session, "z")
    assert symbols_of(site, session) == ["a", "b", "x", "y", "z"]
    assert (session.facts.moves, session.facts.repairs) == (1, 0)


def test_a_late_write_beside_another_overwrites_nothing(site: Site, kato: KatoClient) -> None:
    """A late write that is processed at the same time as a newer one does not replace it."""
    session = kato.session("in place")
    observe_each(session, "a", "b")
    primary = hang_once(site, session, "x")
    (other,) = set(site.instances) - {primary}
    # The other reads the session, works for 1.5 s and saves; in between the late one reads its
    # session, too, and saves last.
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
    assert symbols_of(site, session) == ["a", "b", "x", "y"]
    observe_each(session, "z")
    assert symbols_of(site, session) == ["a", "b", "x", "y", "z"]


def symbols_of(site: Site, session: Session) -> list[str]:
    """The symbols that KATO has in the session that the client uses now."""
    stored = read_session(site.url, session.id)
    assert stored is not None
    return [symbol for (symbol,) in stored.stm]
