"""Watching one service: each rule of HashiCorp's law, and when an empty answer is believed."""

import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kato_consul._consul import api as api
from kato_consul._consul.agents import Agents
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import SLACK, next_index
from kato_consul._consul.call import CONSUL_TIMEOUT
from kato_consul._consul.health_query import HealthQuery
from kato_consul._consul.snapshot_decoder import DecodedRecords, read_snapshot
from kato_consul._discovery.watch import FIRST_RESPONSE_TIMEOUT, HOLD, WAIT, watch
from kato_consul._flow import Outcome, Send
from kato_consul._observable import SnapshotStore
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
)
from kato_consul.models import Snapshot
from kato_consul.testing.clock import ManualClock
from tests.building import ScriptEnds, hung, refused, reply, script
from tests.flows import Player

AT, OTHER = "http://consul.test:8500", "http://other.test:8500"
KATO = HealthQuery("kato")


def found(index: int, *ids: str, **headers: str) -> Outcome:
    """Consul's answer with these instances, all passing."""
    entries = [
        {
            "Node": {"Node": "n1", "Address": "10.0.0.1"},
            "Service": {"ID": one, "Service": "kato", "Address": "", "Port": 8000},
            "Checks": [{"CheckID": "alive", "Status": "passing"}],
        }
        for one in ids
    ]
    return reply(200, entries, x_consul_index=str(index), **headers)


class Watched:
    """A watch that went on until the script of Consul's answers ended.

    ``player`` holds its steps, ``board`` what it left there, and ``shown`` the ids of each snapshot
    that readers were woken for.
    """

    def __init__(
        self,
        *answers: Outcome,
        chance: float = 1.0,
        query: HealthQuery = KATO,
        at: Sequence[str] = (AT,),
        wait: float = WAIT,
        first_timeout: float = CONSUL_TIMEOUT,
    ) -> None:
        self.store = SnapshotStore("kato")
        self.shown: list[list[str]] = []
        self.player = Player(script(answers), clock=ManualClock(1_000.0))
        agents = Agents([ConsulApi(one) for one in at])
        flow = watch(
            agents,
            query,
            self.store,
            clock=self.player.clock,
            random=lambda: chance,
            wait=wait,
            first_timeout=first_timeout,
        )
        with self.store.listening(self._seen), contextlib.suppress(ScriptEnds):
            self.player.play(flow)

    def _seen(self) -> None:
        current = self.store.current
        self.shown.append([one.id for one in current.instances] if current else [])

    @property
    def origins(self) -> list[str]:
        """The agent of each query."""
        return [send.origin for send in self.player.sent]

    @property
    def asked(self) -> list[dict[str, str]]:
        """The parameters of each query; the last is the one that the script did not answer."""
        return [parameters(send) for send in self.player.sent]


def parameters(send: Send) -> dict[str, str]:
    """The query parameters of a request."""
    pairs = parse_qs(urlsplit(send.target).query, keep_blank_values=True)
    return {name: value for name, (value,) in pairs.items()}


# --- the index ------------------------------------------------------------------------------


def test_first_query() -> None:
    """The first query has no index, so that it is answered at once."""
    assert Watched().asked == [{}]


def test_next_query() -> None:
    """The next one blocks: it names the index that was answered, and how long to wait."""
    assert Watched(found(7, "kato-1")).asked == [{}, {"index": "7", "wait": "60.000s"}]


@pytest.mark.parametrize(
    ("answers", "indexes"),
    [
        ([found(5, "a"), found(9, "a")], ["", "5", "9"]),
        ([found(5, "a"), found(5, "a")], ["", "5", "5"]),
        ([found(5, "a"), found(4, "a")], ["", "5", ""]),  # backwards: a server was restored
        ([found(5, "a"), found(0, "a")], ["", "5", ""]),
        ([found(0, "a")], ["", "1"]),  # 0 would not block
        ([found(99, "a"), found(100, "a")], ["", "99", "100"]),  # numbers, not text
        ([found(5, "a"), refused()], ["", "5", ""]),
        ([found(5, "a"), reply(500)], ["", "5", ""]),
        ([found(5, "a"), refused(), found(6, "a")], ["", "5", "", "6"]),
    ],
)
def test_index(answers: list[Outcome], indexes: list[str]) -> None:
    """The index goes up with the answers; backwards, 0 or an error starts over."""
    assert [asked.get("index", "") for asked in Watched(*answers).asked] == indexes


@pytest.mark.parametrize(
    ("last", "answered", "following"),
    [(0, 0, 1), (0, 1, 1), (0, 7, 7), (7, 7, 7), (7, 8, 8), (7, 6, 0), (7, 0, 0), (1, 0, 0)],
)
def test_next_index(last: int, answered: int, following: int) -> None:
    """What to ask with next, as a table."""
    assert next_index(last, answered) == following


@pytest.mark.parametrize(("wait", "timeout"), [(160.0, 175.0), (300.0, 323.75)])
def test_timeout(wait: float, timeout: float) -> None:
    """A blocking query is given wait, the sixteenth that servers add, and some slack."""
    first, blocking = Watched(found(7, "kato-1"), wait=wait).player.sent
    assert first.timeout == CONSUL_TIMEOUT
    assert blocking.timeout == timeout
    assert timeout == wait + wait / 16 + SLACK


@pytest.mark.parametrize("first", [refused(), found(5, "a")])
def test_first_answer(first: Outcome) -> None:
    """Where there is something to go by until then, the first answer is not waited for long; the
    others are, or a slow Consul would never be heard."""
    watched = Watched(first, refused(), refused(), first_timeout=FIRST_RESPONSE_TIMEOUT)
    first_timeout, _, *others = [send.timeout for send in watched.player.sent]
    assert first_timeout == FIRST_RESPONSE_TIMEOUT
    assert set(others) == {CONSUL_TIMEOUT}


# --- how often ------------------------------------------------------------------------------


def test_busy_service() -> None:
    """Answers without pause are taken at once eleven times, and then twice a second."""
    answers = [found(index, "kato-1") for index in range(1, 31)]
    assert Watched(*answers).player.slept == pytest.approx([0.5] * 20)


def test_quiet_service() -> None:
    """Queries that block for long are never paced."""
    store, clock = SnapshotStore("kato"), ManualClock(1_000.0)
    answers = script([found(index, "kato-1") for index in range(1, 31)])

    def slow(send: Send) -> Outcome:
        clock.advance(10.0)
        return answers(send)

    player = Player(slow, clock=clock)
    agents = Agents([ConsulApi(AT)])
    with contextlib.suppress(ScriptEnds):
        player.play(watch(agents, KATO, store, clock=clock, random=lambda: 1.0))
    assert player.slept == []


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_backoff(chance: float) -> None:
    """Errors are answered by growing pauses, each drawn from the whole of its range."""
    ceilings = [0.1, 0.2, 0.4, 0.4, 0.4]
    watched = Watched(*[refused()] * 5, chance=chance)
    assert watched.player.slept == pytest.approx([ceiling * chance for ceiling in ceilings])


def test_backoff_starts_over() -> None:
    """After a good answer the next error is followed by a short pause again."""
    watched = Watched(refused(), refused(), found(5, "kato-1"), refused())
    assert watched.player.slept == pytest.approx([0.1, 0.2, 0.1])


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status: int) -> None:
    """What Consul asked for is waited for, plus the jitter, so that not all come back at once."""
    watched = Watched(reply(status, b"", retry_after="3"))
    assert watched.player.slept == pytest.approx([3.1])


@pytest.mark.parametrize("outcome", [reply(403), reply(400), reply(404), reply(200, b"<html>")])
def test_mistakes(outcome: Outcome) -> None:
    """What somebody has to mend is asked again ever more rarely, down to every 5 s."""
    slept = Watched(*[outcome] * 8).player.slept
    assert slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def away_until(moment: float, **kwargs: Any) -> tuple[float, float]:
    """When a watch began whose Consul changes without pause until it goes, and came back, and when
    the board was told again."""
    clock = ManualClock(1_000.0)
    store = SnapshotStore("kato")
    gone = clock() + 20.0
    back = gone + moment

    def consul(send: Send) -> Outcome:
        if gone <= clock() < back:
            return refused()
        if clock() >= back and store.last_error is None:
            raise ScriptEnds
        return found(int(clock() * 1_000), f"kato-{int(clock() * 1_000)}")

    flow = watch(Agents([ConsulApi(AT)]), KATO, store, clock=clock, **kwargs)
    with contextlib.suppress(ScriptEnds):
        Player(consul, clock=clock).play(flow, most=100_000)
    assert store.confirmed_at is not None
    return back, store.confirmed_at


@pytest.mark.parametrize("outage", [0.05 * n for n in range(1, 60)])
def test_recovery(outage: float) -> None:
    """However long Consul was away, and however busy it kept us before, which emptied the bucket:
    the first good read is made within 0.4 s of its return, with chance at its worst."""
    back, seen = away_until(outage, random=lambda: 1.0)
    assert 0.0 <= seen - back <= 0.4 + 1e-9


# --- which agent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "at_once"),
    [
        (refused(), True),
        (hung(), True),
        (reply(429), True),
        (reply(429, b"", retry_after="3"), True),
        (reply(500, b"No cluster leader"), False),
        (reply(503), False),
        (reply(403), False),
        (reply(200, b"<html>"), False),
    ],
)
def test_another_agent(outcome: Outcome, at_once: bool) -> None:
    """After an error the next agent is asked: at once, if it is the agent's own matter; after a
    pause, if it is the servers' or ours."""
    watched = Watched(outcome, found(5, "a"), at=[AT, OTHER])
    assert watched.origins == [AT, OTHER, OTHER]
    assert watched.player.slept == ([] if at_once else pytest.approx([0.1]))


def test_all_agents_away() -> None:
    """A round of all agents goes without a pause; then there is one, as for a single agent."""
    watched = Watched(*[refused()] * 4, found(5, "a"), at=[AT, OTHER])
    assert watched.origins == [AT, OTHER, AT, OTHER, AT, AT]
    assert watched.player.slept == pytest.approx([0.1, 0.2])


def test_agents_are_shared() -> None:
    """Of two watches that see one agent fail, only the first moves on."""
    agents = Agents([ConsulApi(AT), ConsulApi(OTHER)])
    failed = agents.current
    agents.record_failure(failed)
    agents.record_failure(failed)
    assert agents.current.address == OTHER


# --- what readers see -----------------------------------------------------------------------


def test_snapshots() -> None:
    """Each change is shown; an answer without one wakes nobody."""
    watched = Watched(found(5, "a"), found(6, "a"), found(7, "a", "b"), found(8, "a", "b"))
    assert watched.shown == [["a"], ["a", "b"]]
    assert watched.store.current is not None


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (refused(), ConsulUnreachable),
        (hung(), ConsulUnreachable),
        (reply(429), ConsulUnavailable),
        (reply(500, b"No cluster leader"), ConsulUnavailable),
        (reply(403), ConsulDenied),
        (reply(400), ConsulRejected),
        (reply(404), ConsulRejected),
        (reply(301), ConsulRejected),
        (reply(200, b"<html>"), ConsulRejected),
    ],
)
def test_trouble(outcome: Outcome, kind: type[ConsulError]) -> None:
    """On any error the last good snapshot stays, with the trouble beside it; a good one ends it."""
    watched = Watched(found(5, "a"), outcome)
    assert ids(watched.store.current) == ["a"]
    assert type(watched.store.last_error) is kind
    assert watched.shown == [["a"]]

    watched = Watched(found(5, "a"), outcome, found(6, "a"))
    assert watched.store.last_error is None
    assert watched.shown == [["a"]]


# --- whether it is news ----------------------------------------------------------------------

NO_CHANGE = reply(200, b"not to be read", x_consul_index="5")
SAME_BYTES = found(6, "a")


@pytest.mark.parametrize("answer", [NO_CHANGE, SAME_BYTES])
def test_no_news(answer: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same index again, or the very same bytes, is not read: the snapshot stays the object that
    it was, and Consul has confirmed it."""
    read: list[int] = []

    def counted(service: str, index: int, body: bytes, memory: DecodedRecords) -> Snapshot:
        read.append(index)
        return read_snapshot(service, index, body, memory)

    monkeypatch.setattr(api, "read_snapshot", counted)
    watched = Watched(found(5, "a"), answer)
    assert (read, ids(watched.store.current), watched.store.last_error) == ([5], ["a"], None)


def test_another_index_of_an_agent_that_forgot() -> None:
    """The index says that nothing changed only to who asked with it: after an error all is read."""
    assert Watched(found(5, "a"), refused(), found(5, "b")).shown == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("headers", "old"),
    [
        ({}, 0.0),
        ({"x_consul_lastcontact": "0"}, 0.0),
        ({"x_consul_lastcontact": "4200"}, 4.2),
        ({"age": "7"}, 7.0),
        ({"age": "7", "x_consul_lastcontact": "1500"}, 8.5),
        ({"age": "soon", "x_consul_lastcontact": "-1"}, 0.0),
    ],
)
def test_how_old(headers: dict[str, str], old: float) -> None:
    """What a server that hears from the leader no more, or the agent's cache, tells of how far it
    is behind counts into when Consul confirmed it."""
    assert Watched(found(5, "a", **headers)).store.confirmed_at == 1_000.0 - old


LEADERLESS = {"x_consul_knownleader": "false"}
STREAMING = {**LEADERLESS, "x_consul_query_backend": "streaming"}


@pytest.mark.parametrize(
    ("headers", "shown", "trouble"),
    [
        ({"x_consul_knownleader": "true"}, [["a"], ["b"]], False),
        (STREAMING, [["a"], ["b"]], False),
        (LEADERLESS, [["a"]], True),
        ({**LEADERLESS, "x_consul_query_backend": "blocking-query"}, [["a"]], True),
    ],
)
def test_leaderless(headers: dict[str, str], shown: list[list[str]], trouble: bool) -> None:
    """Who knows no leader may be behind: what there is stays. A streaming backend never says."""
    watched = Watched(found(5, "a"), found(6, "b", **headers))
    assert (watched.shown, watched.store.last_error is not None) == (shown, trouble)
    assert watched.asked[2].get("index") == (None if trouble else "6")


def test_leaderless_from_the_start() -> None:
    """While there is nothing else it will do, but it is no confirmation; an empty one will not."""
    watched = Watched(found(5, "a", **LEADERLESS))
    assert (watched.shown, watched.store.confirmed_at) == ([["a"]], None)
    assert watched.store.last_error is not None
    watched = Watched(found(5, **LEADERLESS), found(5, **LEADERLESS))
    assert watched.store.current is None


def test_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """That Consul went is told once, with what is gone by meanwhile, and so is its return."""
    Watched(found(5, "a"), refused(), reply(500), found(6, "a"), found(7, "a"))
    went, back = [record.getMessage() for record in caplog.records]
    assert went.startswith("consul.error service='kato' why='no answer from Consul at ")
    assert went.endswith("snapshot_source='consul'")
    assert back == "consul.recovered service='kato'"


# --- an empty answer ------------------------------------------------------------------------


def test_empty_is_confirmed() -> None:
    """An empty answer is held, then read again from the leader, without an index: then believed."""
    watched = Watched(found(5, "a"), found(6), found(6))
    assert watched.asked[2] == {"consistent": ""}
    assert watched.player.sent[2].timeout == CONSUL_TIMEOUT
    assert watched.player.slept == [HOLD]
    assert watched.shown == [["a"], []]
    assert watched.asked[3] == {"index": "6", "wait": "60.000s"}


def test_empty_was_a_lie() -> None:
    """When the second read finds instances, nobody ever saw an empty service."""
    watched = Watched(found(5, "a"), found(6), found(7, "a"))
    assert watched.shown == [["a"]]
    assert watched.asked[3]["index"] == "7"


def test_empty_from_the_start() -> None:
    """The first answer may be a cold cache's: it is confirmed, too."""
    assert Watched(found(6)).store.current is None
    assert ids(Watched(found(6), found(6)).store.current) == []
    assert Watched(found(6), found(6, "a")).shown == [["a"]]


def test_empty_stays_empty() -> None:
    """Once believed, an empty service is not read twice at every answer."""
    watched = Watched(found(6), found(6), found(7), found(8))
    assert [asked.get("index") for asked in watched.asked] == [None, None, "6", "7", "8"]
    assert watched.player.slept == [HOLD]


@pytest.mark.parametrize("outcome", [refused(), reply(500, b"No cluster leader")])
def test_empty_not_confirmed(outcome: Outcome) -> None:
    """When the second read fails, the last good snapshot stays and the watch starts over."""
    watched = Watched(found(5, "a"), found(6), outcome)
    assert ids(watched.store.current) == ["a"]
    assert watched.store.last_error is not None
    assert watched.asked[3] == {}


def ids(snapshot: Snapshot | None) -> Any:
    """The ids in a snapshot; None when there is none."""
    return None if snapshot is None else [one.id for one in snapshot.instances]
