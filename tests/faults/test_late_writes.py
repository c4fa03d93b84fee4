"""Writes that land after the client moved on, at the worst of moments, on real sockets."""

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
    """Two instances: the one that hangs, and the other."""
    with Fleet(2) as made:
        yield made


@pytest.fixture
def site(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Both behind proxies, under a name of this test's own."""
    with registered(fleet, request.node.name.replace("_", "-"), proxied=True) as made:
        yield made
        made.heal()


@pytest.fixture
def kato(site: Site) -> Iterator[KatoClient]:
    """A client whose attempts take a second at most."""
    with KatoClient(replace(site.settings, attempt_timeout=1.0)) as made:
        yield made


def told(session: Session, *symbols: str) -> None:
    """Observe symbols one by one."""
    for symbol in symbols:
        session.observe([symbol])


def hang_once(site: Site, session: Session, symbol: str) -> str:
    """Observe a symbol that its instance keeps in hand, and another takes; whose hand it is."""
    home = str(session.facts.instance)
    site.proxies[home].plan = every(1, Fault.HANG)
    told(session, symbol)
    site.proxies[home].plan = no_fault
    assert session.facts.settlements == 1
    return home


def test_a_late_write_on_top_is_taken_away(site: Site, kato: KatoClient) -> None:
    """A write that lands on top of what came after it is found at the next call, and put right."""
    session = kato.session("on top")
    told(session, "a", "b")
    home = hang_once(site, session, "x")
    told(session, "y")
    site.proxies[home].release()
    site.proxies[home].wait_idle()
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "x"]
    told(session, "z")
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "z"]
    assert session.facts.repairs == 1


def test_a_late_write_in_the_place_of_another_is_taken_away(site: Site, kato: KatoClient) -> None:
    """A write that lands while another is worked on, and overwrites it, leaves the counter right
    and the memory wrong: it is found at the next call all the same, and put right."""
    session = kato.session("in place")
    told(session, "a", "b")
    home = hang_once(site, session, "x")
    (other,) = set(site.instances) - {home}
    # The other reads the session, works for 0.5 s and saves; in between the late one reads it too,
    # and saves last.
    site.instances[home].switch(slow=1.0)
    site.instances[other].switch(slow=0.5)
    arrived = threading.Event()

    def arrives(method: str, path: str) -> None:
        if is_observation(method, path):
            arrived.set()

    site.proxies[other].plan = arrives
    with site.proxies[home].refusing():
        telling = threading.Thread(target=told, args=(session, "y"))
        telling.start()
        assert arrived.wait(10.0)
        site.proxies[home].release()
        telling.join()
    site.proxies[home].wait_idle()
    for one in site.instances.values():
        one.switch(slow=0.0)
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "x"], "not the worst of moments"
    told(session, "z")
    final = read_session(site.url, session.id)
    assert final is not None
    assert [symbol for (symbol,) in final.stm] == ["a", "b", "x", "y", "z"]
