"""The directory slow, away, or cut off from one of two clients."""

import pytest

from kato_consul.errors import RequestNotSent
from tests.shared_sessions.callers import Callers, other, owns, unavailable
from tests.shared_sessions.clients import WITHIN, Shell
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually


def test_slow(site: Site, shell: Shell) -> None:
    """A directory that answers after half a second only makes calls slower."""
    one, two = (site.client(kind).session("user-1") for kind in (shell, other(shell)))
    callers = Callers(one, two)
    assert callers.progress()
    for link in site.links:
        link.delay = 0.5
    assert callers.progress()
    for link in site.links:
        link.delay = 0.0
    assert callers.progress()
    callers.finish(site)
    assert all(call.acknowledged for call in callers.history.calls)


def test_too_slow(site: Site, shell: Shell) -> None:
    """A directory that needs longer than a lease for an answer is as one that is away."""
    session = site.client(shell, deadline=4.0).session("user-1")
    session.observe(["a"])
    site.links[0].delay = 2.5
    assert eventually(lambda: not owns(session))
    unavailable(site, session, 4.0)
    site.links[0].delay = 0.0
    session.observe(["b"])
    assert site.stored_symbols(session.id) == ["a", "b"]


def test_away(site: Site, shell: Shell) -> None:
    """An owner goes on until its lease ends. Then its calls, and those that wait for it, end as not
    sent; calls with more time wait until the directory is back."""
    one = site.client(shell, deadline=3.0).session("user-1")
    two = site.client(other(shell), deadline=3.0).session("user-1")
    patient = site.client(shell, deadline=WITHIN).session("user-1")
    one.observe(["a"])
    for link in site.links:
        link.refuse()
    one.observe(["b"])
    assert owns(one)
    waiting = [patient.start("observe", ["c"]), patient.start("observe", ["d"])]
    assert eventually(lambda: not owns(one))
    for session in (one, two):
        text = str(unavailable(site, session, 3.0))
        assert "could not connect" in text or "was not registered" in text
    assert not any(call.done() for call in waiting)
    for link in site.links:
        link.accept_again()
    for call in waiting:
        call.result(WITHIN)
    two.observe(["e"])
    assert one.symbols() == ["a", "b", "c", "d", "e"]
    assert site.stored_symbols(one.id) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_away_for_ten_seconds(site: Site, shell: Shell, how: str) -> None:
    """Callers of two clients go on by themselves after an outage; each event is there once."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    callers = Callers(one, two)
    assert callers.progress()
    for link in site.links:
        link.refuse() if how == "refuses" else link.hold(True)
    assert not eventually(callers.stopped, within=10.0)
    for link in site.links:
        link.accept_again() if how == "refuses" else link.hold(False)
    assert callers.progress()
    callers.finish(site)
    assert all(call.acknowledged for call in callers.history.calls)


def test_one_client_is_cut_off(site: Site, shell: Shell) -> None:
    """The other one takes its sessions over. The one that is cut off sends nothing, and goes on
    when its connection is back, with what the other has observed."""
    one = site.client(shell, deadline=3.0).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    left = one.id
    site.links[0].refuse()
    two.observe(["b"])
    assert not owns(one)
    assert two.facts.takeovers == 1
    assert two.id != left
    unavailable(site, one, 3.0)
    two.observe(["c"])
    site.links[0].accept_again()
    one.observe(["d"])
    assert (one.symbols(), one.id) == (["a", "b", "c", "d"], two.id)
    assert one.facts.takeovers == 0


def test_one_that_waits_is_cut_off(site: Site, shell: Shell) -> None:
    """A client that is cut off while it waits does not hold up the others for longer than its
    lease."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell), deadline=4.0).session("user-1")
    three = site.client(shell).session("user-1")
    one.observe(["a"])
    busy = one.start("observe_sequence", [[f"s{n}"] for n in range(100)], chunk=1)
    waiting = two.start("observe", ["lost"])
    assert eventually(lambda: "user-1" in one.client.wanted)
    site.links[1].refuse()
    three.observe(["b"])
    with pytest.raises(RequestNotSent):
        waiting.result(WITHIN)
    busy.result(WITHIN)
    site.links[1].accept_again()
    two.observe(["c"])
    assert two.symbols() == ["a", *(f"s{n}" for n in range(100)), "b", "c"]
