"""The twelve cases that the search of the protocol's model found, on real processes.

In each, ``one`` owns the session first and ``two`` takes it over. A write of ``one`` is *held*: a
proxy has read it, and forwards it when it is released, however long that takes. KATO's sessions
that were left are not deleted, so that a late write finds the session that it was meant for.
"""

import pytest

from kato_consul.testing.fault_plan import Fault, Match, is_observation
from kato_consul.testing.kato.instance import flush_sessions
from tests.shared_sessions.clients import WITHIN, Shell
from tests.shared_sessions.processes import CallFailed, Process
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually

KEY = "user-1"


class Holding:
    """Holds the next request that matches, at whichever instance; others are forwarded.

    Sessions that were left stay: a request that deletes one is cut.
    """

    def __init__(self, site: Site) -> None:
        self._proxies = site.deployment.proxies
        self._match: Match | None = None
        self._fault = Fault.HANG
        for proxy in self._proxies:
            proxy.plan = self._plan

    def next(self, match: Match = is_observation, *, applied: bool = False) -> None:
        """Hold the next request; with ``applied`` forward it, and hold its answer."""
        self._before = self.held
        self._fault = Fault.HANG_APPLIED if applied else Fault.HANG
        self._match = match

    @property
    def held(self) -> int:
        """How many requests were held until now."""
        kinds = Fault.HANG, Fault.HANG_APPLIED
        return sum(proxy.counts[kind] for proxy in self._proxies for kind in kinds)

    @property
    def was_held(self) -> bool:
        """True once the request is held."""
        return self.held > self._before

    def wait(self) -> None:
        """Wait until the request is held."""
        assert eventually(lambda: self.was_held)

    def release(self) -> None:
        """Forward what is held, and wait until the instances have it."""
        for proxy in self._proxies:
            proxy.release()

    def _plan(self, method: str, path: str) -> Fault | None:
        if method == "DELETE":
            return Fault.CUT_REQUEST
        match = self._match
        if match is not None and match(method, path):
            self._match = None
            return self._fault
        return None


@pytest.fixture
def holding(site: Site) -> Holding:
    """The proxies before the instances."""
    return Holding(site)


@pytest.fixture
def one(site: Site, shell: Shell) -> Process:
    """The process that owns the session first."""
    return site.process(shell)


@pytest.fixture
def two(site: Site, shell: Shell) -> Process:
    """The process that takes it over."""
    return site.process("async" if shell == "sync" else "sync")


@pytest.fixture
def three(site: Site, shell: Shell) -> Process:
    """A third process."""
    return site.process(shell)


def is_create(method: str, path: str) -> bool:
    """Return whether a request opens a session."""
    return (method, path) == ("POST", "/sessions")


def is_clear(method: str, path: str) -> bool:
    """Return whether a request clears a memory."""
    return path.endswith("/clear-stm")


def test_1_both_writes_are_answered(
    site: Site, holding: Holding, one: Process, two: Process
) -> None:
    """An owner is stopped while its write is in an instance, and another process writes. Both
    writes are answered as expected by KATO; the session has both, once."""
    one.call("observe", ["a"])
    left = one.call("id")
    holding.next()
    writing = one.start("observe", ["x"])
    holding.wait()
    one.freeze()
    two.call("observe", ["b"])
    holding.release()
    assert eventually(lambda: site.stored_symbols(left) == ["a", "x"])
    one.thaw()
    assert writing.result(WITHIN)["time"] == 3
    assert two.symbols() == one.symbols() == ["a", "b", "x"]
    assert site.stored_symbols(two.call("id")) == ["a", "b", "x"]


def test_2_the_old_owner_finds_its_write(
    site: Site, holding: Holding, one: Process, two: Process
) -> None:
    """The write was applied before the other process has read the session: it is acknowledged, and
    not sent again."""
    one.call("observe", ["a"])
    holding.next(applied=True)
    writing = one.start("observe", ["x"])
    holding.wait()
    one.freeze()
    two.call("observe", ["b"])
    holding.release()
    one.thaw()
    writing.result(WITHIN)
    assert two.symbols() == one.symbols() == ["a", "x", "b"]


def test_3_stopped_between_check_and_send(
    site: Site, holding: Holding, one: Process, two: Process
) -> None:
    """An owner is stopped after it has checked its lease, and sends its write when another process
    owns the session: it reaches the session that was left."""
    one.call("observe", ["a"])
    left = one.call("id")
    one.stop_before("POST", "/observe")
    writing = one.start("observe", ["x"])
    assert eventually(one.is_stopped)
    two.call("observe", ["b"])
    one.thaw()
    writing.result(WITHIN)
    assert site.stored_symbols(left) == ["a", "x"]
    assert two.symbols() == one.symbols() == ["a", "b", "x"]


def test_4_the_new_owner_dies_after_its_write(
    site: Site, holding: Holding, one: Process, two: Process, three: Process
) -> None:
    """A late write arrives after that of a new owner, which dies at once. The next one finds what
    was acknowledged."""
    one.call("observe", ["a"])
    holding.next()
    writing = one.start("observe", ["x"])
    holding.wait()
    one.freeze()
    two.call("observe", ["b"])
    two.kill()
    holding.release()
    assert three.symbols() == ["a", "b"]
    one.thaw()
    writing.result(WITHIN)
    assert three.symbols() == one.symbols() == ["a", "b", "x"]


def test_5_a_late_write_after_the_last_call(
    site: Site, holding: Holding, one: Process, two: Process, three: Process
) -> None:
    """It arrives after the last call of the new owner, which has ended in order."""
    one.call("observe", ["a"])
    left = one.call("id")
    holding.next()
    one.start("observe", ["x"])
    holding.wait()
    one.freeze()
    two.call("observe", ["b"])
    last = two.call("id")
    assert two.end() == 0
    one.kill()
    holding.release()
    assert eventually(lambda: site.stored_symbols(left) == ["a", "x"])
    assert site.stored_symbols(last) == ["a", "b"]
    assert three.symbols() == ["a", "b"]
    assert three.call("facts")["takeovers"] == 0


def test_6_a_write_that_was_given_up_on_before_a_hand_over(
    site: Site, holding: Holding, shell: Shell, two: Process
) -> None:
    """The owner gives up on a write, sends it again elsewhere, and hands the session over. The next
    owner knows nothing of the first copy, which arrives later."""
    one = site.process(shell, attempt_timeout=1.0)
    one.call("observe", ["a"])
    left = one.call("id")
    holding.next()
    one.call("observe", ["x"])
    assert holding.was_held
    two.call("observe", ["b"])
    holding.release()
    assert eventually(lambda: site.stored_symbols(left) == ["a", "x"])
    two.call("observe", ["c"])
    assert two.symbols() == one.symbols() == ["a", "x", "b", "c"]
    assert two.call("facts")["takeovers"] == 0


def test_7_a_clear_that_was_given_up_on_before_a_hand_over(
    site: Site, holding: Holding, shell: Shell, two: Process
) -> None:
    """The same with a clear: arriving later, it clears a session that is not read any more."""
    one = site.process(shell, attempt_timeout=1.0)
    one.call("observe", ["a"])
    left = one.call("id")
    holding.next(is_clear)
    one.call("clear_stm")
    one.call("observe", ["x"])
    two.call("observe", ["b"])
    holding.release()
    assert eventually(lambda: site.stored_symbols(left) == [])
    two.call("observe", ["c"])
    assert two.symbols() == one.symbols() == ["x", "b", "c"]


def test_8_a_takeover_that_is_lost_and_regained(
    site: Site, holding: Holding, one: Process, two: Process, three: Process
) -> None:
    """A process is stopped in the middle of a takeover, and another one takes the session over
    meanwhile. The first does not go on where it was: it takes over what the other has left."""
    one.call("observe", ["a"])
    one.kill()
    holding.next(is_create)
    writing = two.start("observe", ["b"])
    holding.wait()
    two.freeze()
    three.call("observe", ["c"])
    taken = three.call("id")
    three.kill()
    holding.release()
    two.thaw()
    writing.result(WITHIN)
    assert two.symbols() == ["a", "c", "b"]
    assert two.call("id") != taken


@pytest.mark.parametrize("applied", [False, True])
def test_9_the_first_owner_settles_after_two_takeovers(
    site: Site, holding: Holding, one: Process, two: Process, three: Process, applied: bool
) -> None:
    """The first cut after its own epoch decides, not the last one."""
    one.call("observe", ["a"])
    holding.next(applied=applied)
    writing = one.start("observe", ["x"])
    holding.wait()
    one.freeze()
    two.call("observe", ["b"])
    two.kill()
    three.call("observe", ["c"])
    holding.release()
    one.thaw()
    writing.result(WITHIN)
    expected = ["a", "x", "b", "c"] if applied else ["a", "b", "c", "x"]
    assert three.symbols() == one.symbols() == expected


@pytest.mark.parametrize("applied", [False, True])
def test_10_the_directory_loses_the_lease_of_an_owner_that_sends(
    site: Site, holding: Holding, shell: Shell, two: Process, applied: bool
) -> None:
    """The owner lives, but does not reach the directory: its write is answered under a lease that
    has ended."""
    one = site.process(shell, linked=True)
    one.call("observe", ["a"])
    holding.next(applied=applied)
    writing = one.start("observe", ["x"])
    holding.wait()
    site.links[-1].hold(True)
    two.call("observe", ["b"])
    holding.release()
    site.links[-1].hold(False)
    writing.result(WITHIN)
    expected = ["a", "x", "b"] if applied else ["a", "b", "x"]
    assert two.symbols() == one.symbols() == expected


def test_11_an_unsaved_acknowledgement_before_a_hand_over(
    site: Site, one: Process, two: Process
) -> None:
    """KATO has acknowledged an observation that its full store has not saved. The next owner
    restores it from the entry."""
    one.call("observe", ["a"])
    for instance in site.deployment.instances:
        instance.switch(store="full")
    one.call("observe", ["x"])
    assert two.call("exists")
    for instance in site.deployment.instances:
        instance.switch(store="up")
    two.call("observe", ["b"])
    assert two.symbols() == one.symbols() == ["a", "x", "b"]


def test_11_an_unsaved_acknowledgement_before_a_takeover(
    site: Site, one: Process, two: Process, three: Process
) -> None:
    """If the entry has the counter of the lost observation, the process that takes the session over
    is told, and goes on with what KATO has."""
    one.call("observe", ["a"])
    for instance in site.deployment.instances:
        instance.switch(store="full")
    one.call("observe", ["x"])
    assert two.call("exists")  # the hand-over has written the entry
    for instance in site.deployment.instances:
        instance.switch(store="up")
    two.kill()
    with pytest.raises(CallFailed, match="expected time 2") as caught:
        three.call("observe", ["b"])
    assert caught.value.kind == "SessionConflict"
    three.call("observe", ["c"])
    assert three.symbols() == ["a", "c"]


CRASHES = ["a refusal", "a learn", "a clear", "a foreign call", "a new id"]


@pytest.mark.parametrize("after", CRASHES)
def test_12_a_log_goes_on_after_a_crash(site: Site, one: Process, two: Process, after: str) -> None:
    """The owner applies messages of a log and dies after something that its positions have to
    survive. Another process is given the whole log again: each message is applied once."""

    def position(offset: int) -> tuple[str, int, int]:
        return "events", 0, offset

    one.call("observe", ["m0"], position=position(0))
    one.call("observe", ["m1"], position=position(1))
    if after == "a refusal":
        with pytest.raises(CallFailed, match="422"):
            refused = {"strings": ["m2"], "unique_id": 5}
            one.call("observe_sequence", [refused], position=position(2))
    elif after == "a learn":
        one.call("learn", position=position(2))
    elif after == "a clear":
        one.call("clear_stm")
    elif after == "a foreign call":
        one.call("observe", ["foreign"])
    elif after == "a new id":
        flush_sessions(site.deployment.instances[0].store)
    one.call("observe", ["m3"], position=position(3))
    one.kill()
    for offset in range(5):
        if offset == 2:
            if after == "a learn":
                two.call("learn", position=position(2))
            continue
        two.call("observe", [f"m{offset}"], position=position(offset))
    before = {"a learn": [], "a clear": [], "a foreign call": ["m0", "m1", "foreign"]}
    assert two.symbols() == [*before.get(after, ["m0", "m1"]), "m3", "m4"]
    assert two.call("position") == {"log": "events", "partition": 0, "offset": 4}
