"""KATO's own faults while sessions are shared: hung instances, a flushed store, deletions."""

import pytest

from kato_consul.errors import SessionConflict
from kato_consul.testing.kato.instance import flush_sessions
from tests.shared_sessions.callers import other
from tests.shared_sessions.clients import WITHIN, Shell
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually


def test_an_instance_hangs_while_another_process_waits(site: Site, shell: Shell) -> None:
    """The owner ends its call elsewhere, and then hands the session over. What the hung instance
    does later reaches a session that was left."""
    one = site.client(shell, attempt_timeout=1.0).session("user-1")
    two = site.client(other(shell), attempt_timeout=1.0).session("user-1")
    one.observe(["a"])
    hung = site.instance(one.facts.instance)
    hung.switch(hung=True)
    calling = one.start("observe", ["x"])
    assert eventually(lambda: one.real._state.pending is not None)
    waiting = two.start("observe", ["b"])
    calling.result(WITHIN)
    waiting.result(WITHIN)
    hung.switch(hung=False)
    two.observe(["c"])
    assert two.symbols() == one.symbols() == ["a", "x", "b", "c"]
    assert two.facts.takeovers == 0


def test_all_instances_hang_while_another_process_waits(site: Site, shell: Shell) -> None:
    """The owner's call ends without an outcome; the session is not handed over in order, and the
    next owner settles it."""
    one = site.client(shell, attempt_timeout=0.5, deadline=2.0).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    for instance in site.deployment.instances:
        instance.switch(hung=True)
    calling = one.start("observe", ["x"])
    assert eventually(lambda: one.real._state.pending is not None)
    waiting = two.start("observe", ["b"])
    assert calling.exception(WITHIN) is not None
    for instance in site.deployment.instances:
        instance.switch(hung=False)
    waiting.result(WITHIN)
    outcome = one.settle()
    symbols = one.symbols()
    assert symbols == (["a", "x", "b"] if outcome else ["a", "b"])
    one.observe(["c"])
    assert two.symbols() == [*symbols, "c"]


def test_the_store_is_flushed_before_a_hand_over(site: Site, shell: Shell) -> None:
    """The next owner restores the session from the entry."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    one.observe(["b"])
    flush_sessions(site.deployment.instances[0].store)
    two.observe(["c"])
    assert two.symbols() == one.symbols() == ["a", "b", "c"]


def test_the_store_is_flushed_before_a_takeover(site: Site, shell: Shell) -> None:
    """What the dead owner observed after the last entry is lost. This is told, once."""
    one = site.process(shell)
    two = site.client(other(shell)).session("user-1")
    three = site.client(shell).session("user-1")
    one.call("observe", ["a"])
    two.observe(["b"])
    one.call("observe", ["c"])  # since the entry was written
    one.kill()
    flush_sessions(site.deployment.instances[0].store)
    with pytest.raises(SessionConflict) as caught:
        three.observe(["d"])
    assert caught.value.call_applied is False
    three.observe(["e"])
    assert three.symbols() == two.symbols() == ["a", "b", "e"]


def test_a_session_is_deleted_by_another_process(site: Site, shell: Shell) -> None:
    """The next call of either opens a new one, for both."""
    one = site.client(shell).session("user-1")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    two.observe(["b"])
    deleted = two.id
    two.delete()
    one.observe(["c"])
    assert one.id != deleted
    assert site.stored(deleted) is None
    assert (two.symbols(), two.id) == (["c"], one.id)
    one.delete()
    one.observe(["d"])
    two.observe(["e"])
    assert one.symbols() == ["d", "e"]


def test_a_session_is_deleted_by_a_process_that_dies(site: Site, shell: Shell) -> None:
    """It is not restored by the one that owned it before."""
    one = site.client(shell).session("user-1")
    two = site.process(shell)
    one.observe(["a"])
    two.call("delete")
    two.kill()
    one.observe(["b"])
    assert one.symbols() == ["b"]
