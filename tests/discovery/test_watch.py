"""Watch: each of its rules, and when an empty response is accepted."""

import contextlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kato_consul._consul import api as api
from kato_consul._consul.agent_load import MAX_BLOCKING, READ_INTERVAL, AgentLoad
from kato_consul._consul.agents import Agents
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import NETWORK_SLACK, next_index
from kato_consul._consul.call import CONSUL_TIMEOUT
from kato_consul._consul.health_query import HealthQuery
from kato_consul._consul.snapshot_decoder import DecodedRecords, read_snapshot
from kato_consul._discovery.watch import (
    BLOCKING_WAIT,
    EMPTY_CONFIRM_DELAY,
    FIRST_RESPONSE_TIMEOUT,
    watch,
)
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


def health(index: int, *ids: str, status: str = "passing", **headers: str) -> Outcome:
    """Return Consul's response with these instances, all in the same health."""
    records = [
        {
            "Node": {"Node": "n1", "Address": "10.0.0.1"},
            "Service": {"ID": one, "Service": "kato", "Address": "", "Port": 8000},
            "Checks": [{"CheckID": "alive", "Status": status}],
        }
        for one in ids
    ]
    return reply(200, records, x_consul_index=str(index), **headers)


class Watched:
    """A watch that ran until the script of Consul's responses ended.

    ``player`` has its steps, ``store`` the result, and ``published`` the ids of each snapshot that
    listeners were notified of.
    """

    def __init__(
        self,
        *responses: Outcome,
        draw: float = 1.0,
        query: HealthQuery = KATO,
        at: Sequence[str] = (AT,),
        wait: float = BLOCKING_WAIT,
        first_timeout: float = CONSUL_TIMEOUT,
        wait_while_hidden: float = BLOCKING_WAIT,
        load: AgentLoad | None = None,
    ) -> None:
        self.store = SnapshotStore("kato")
        self.published: list[list[str]] = []
        self.player = Player(script(responses), clock=ManualClock(1_000.0))
        agents = Agents([ConsulApi(one) for one in at])
        flow = watch(
            agents,
            query,
            self.store,
            clock=self.player.clock,
            random=lambda: draw,
            wait=wait,
            first_timeout=first_timeout,
            wait_while_hidden=wait_while_hidden,
            load=load or AgentLoad(),
        )
        with self.store.listening(self._record), contextlib.suppress(ScriptEnds):
            self.player.play(flow)

    def _record(self) -> None:
        current = self.store.current
        self.published.append([one.id for one in current.instances] if current else [])

    @property
    def origins(self) -> list[str]:
        """The origin of each query."""
        return [send.origin for send in self.player.sent]

    @property
    def queries(self) -> list[dict[str, str]]:
        """The parameters of each query; the script has no outcome for the last one."""
        return [parameters(send) for send in self.player.sent]


def parameters(send: Send) -> dict[str, str]:
    """Return the query parameters of a request."""
    pairs = parse_qs(urlsplit(send.target).query, keep_blank_values=True)
    return {name: value for name, (value,) in pairs.items()}


# --- the index ------------------------------------------------------------------------------


def test_first_query_does_not_block() -> None:
    """The first query has no index, so Consul responds at once."""
    assert Watched().queries == [{}]


def test_second_query_blocks() -> None:
    """The second query has the index of the response, and how long to wait."""
    assert Watched(health(7, "kato-1")).queries == [{}, {"index": "7", "wait": "60.000s"}]


FILTERED = {"x_consul_results_filtered_by_acls": "true"}


@pytest.mark.parametrize(
    ("answers", "wait"),
    [
        ([health(7, "kato-1")], "60.000s"),
        ([health(7), health(7)], "5.000s"),  # the second confirms the first
        ([health(7, "kato-1", **FILTERED)], "5.000s"),
        ([health(7, "kato-1", **FILTERED), health(8, "kato-1")], "60.000s"),
    ],
)
def test_query_blocks_shorter_while_the_token_may_hide_instances(
    answers: list[Outcome], wait: str
) -> None:
    """It would not return when another token is used that may read them."""
    watched = Watched(*answers, wait_while_hidden=5.0)
    assert watched.queries[-1]["wait"] == wait


@pytest.mark.parametrize(
    ("answers", "indexes"),
    [
        ([health(5, "a"), health(9, "a")], ["", "5", "9"]),
        ([health(5, "a"), health(5, "a")], ["", "5", "5"]),
        ([health(5, "a"), health(4, "a")], ["", "5", ""]),  # backwards: a server was restored
        ([health(5, "a"), health(0, "a")], ["", "5", ""]),
        ([health(0, "a")], ["", "1"]),  # 0 would not block
        ([health(99, "a"), health(100, "a")], ["", "99", "100"]),  # numbers, not text
        ([health(5, "a"), refused()], ["", "5", ""]),
        ([health(5, "a"), reply(500)], ["", "5", ""]),
        ([health(5, "a"), refused(), health(6, "a")], ["", "5", "", "6"]),
    ],
)
def test_index_follows_the_responses(answers: list[Outcome], indexes: list[str]) -> None:
    """The index is that of the last response; a lower one, 0 or an error resets it."""
    assert [query.get("index", "") for query in Watched(*answers).queries] == indexes


@pytest.mark.parametrize(
    ("last", "answered", "following"),
    [(0, 0, 1), (0, 1, 1), (0, 7, 7), (7, 7, 7), (7, 8, 8), (7, 6, 0), (7, 0, 0), (1, 0, 0)],
)
def test_next_index_table(last: int, answered: int, following: int) -> None:
    """The index of the next query, as a table."""
    assert next_index(last, answered) == following


@pytest.mark.parametrize(("wait", "timeout"), [(160.0, 175.0), (300.0, 323.75)])
def test_timeout_of_a_blocking_query(wait: float, timeout: float) -> None:
    """The timeout is the wait, the sixteenth that servers add, and some slack."""
    first, blocking = Watched(health(7, "kato-1"), wait=wait).player.sent
    assert first.timeout == CONSUL_TIMEOUT
    assert blocking.timeout == timeout
    assert timeout == wait + wait / 16 + NETWORK_SLACK


@pytest.mark.parametrize("first", [refused(), health(5, "a")])
def test_first_timeout_is_for_the_first_query_only(first: Outcome) -> None:
    """With a fallback the first query has a short timeout. Later ones do not, or the response of a
    slow Consul would never be read."""
    watched = Watched(first, refused(), refused(), first_timeout=FIRST_RESPONSE_TIMEOUT)
    first_timeout, _, *others = [send.timeout for send in watched.player.sent]
    assert first_timeout == FIRST_RESPONSE_TIMEOUT
    assert set(others) == {CONSUL_TIMEOUT}


# --- rate and backoff -----------------------------------------------------------------------


def test_queries_of_a_busy_service_are_rate_limited() -> None:
    """After eleven queries without a pause, two are sent per second."""
    answers = [health(index, "kato-1") for index in range(1, 31)]
    assert Watched(*answers).player.slept == pytest.approx([0.5] * 20)


def test_queries_of_a_quiet_service_are_not_rate_limited() -> None:
    """Queries that block for long are followed by no pause."""
    store, clock = SnapshotStore("kato"), ManualClock(1_000.0)
    answers = script([health(index, "kato-1") for index in range(1, 31)])

    def slow(send: Send) -> Outcome:
        clock.advance(10.0)
        return answers(send)

    player = Player(slow, clock=clock)
    agents = Agents([ConsulApi(AT)])
    with contextlib.suppress(ScriptEnds):
        player.play(watch(agents, KATO, store, clock=clock, random=lambda: 1.0))
    assert player.slept == []


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_errors_are_followed_by_growing_pauses(draw: float) -> None:
    """Each pause is uniform below a growing ceiling."""
    ceilings = [0.1, 0.2, 0.4, 0.4, 0.4]
    watched = Watched(*[refused()] * 5, draw=draw)
    assert watched.player.slept == pytest.approx([ceiling * draw for ceiling in ceilings])


def test_good_response_resets_the_backoff() -> None:
    """After a good response the next error is followed by a short pause."""
    watched = Watched(refused(), refused(), health(5, "kato-1"), refused())
    assert watched.player.slept == pytest.approx([0.1, 0.2, 0.1])


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_added_to_the_pause(status: int) -> None:
    """The pause is Retry-After plus the jitter, so that not all clients return at once."""
    watched = Watched(reply(status, b"", retry_after="3"))
    assert watched.player.slept == pytest.approx([3.1])


@pytest.mark.parametrize("outcome", [reply(403), reply(400), reply(404), reply(200, b"<html>")])
def test_mistakes_are_retried_every_5_seconds(outcome: Outcome) -> None:
    """After an error that an operator has to correct, the pauses grow to 5 s."""
    slept = Watched(*[outcome] * 8).player.slept
    assert slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def outage_of(seconds: float, **kwargs: Any) -> tuple[float, float]:
    """Run a watch of a Consul that changes without pause, fails for ``seconds`` and returns.
    Return when it returned, and when the store was confirmed again."""
    clock = ManualClock(1_000.0)
    store = SnapshotStore("kato")
    failed = clock() + 20.0
    back = failed + seconds

    def consul(send: Send) -> Outcome:
        if failed <= clock() < back:
            return refused()
        if clock() >= back and store.last_error is None:
            raise ScriptEnds
        return health(int(clock() * 1_000), f"kato-{int(clock() * 1_000)}")

    flow = watch(Agents([ConsulApi(AT)]), KATO, store, clock=clock, **kwargs)
    with contextlib.suppress(ScriptEnds):
        Player(consul, clock=clock).play(flow, most=100_000)
    assert store.confirmed_at is not None
    return back, store.confirmed_at


@pytest.mark.parametrize("outage", [0.05 * n for n in range(1, 60)])
def test_recovery_takes_at_most_400_ms(outage: float) -> None:
    """After an outage of any length, and with an empty token bucket, the first good read is made
    within 0.4 s of Consul's return, with the worst random draws."""
    back, seen = outage_of(outage, random=lambda: 1.0)
    assert 0.0 <= seen - back <= 0.4 + 1e-9


# --- agents ---------------------------------------------------------------------------------


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
def test_error_switches_to_the_next_agent(outcome: Outcome, at_once: bool) -> None:
    """After an error the next agent is used: at once if the error is specific to the agent, after a
    pause if it is not."""
    watched = Watched(outcome, health(5, "a"), at=[AT, OTHER])
    assert watched.origins == [AT, OTHER, OTHER]
    assert watched.player.slept == ([] if at_once else pytest.approx([0.1]))


def test_pause_after_all_agents_failed() -> None:
    """There is no pause within a round of all agents, and one after it, as for a single agent."""
    watched = Watched(*[refused()] * 4, health(5, "a"), at=[AT, OTHER])
    assert watched.origins == [AT, OTHER, AT, OTHER, AT, AT]
    assert watched.player.slept == pytest.approx([0.1, 0.2])


def test_second_report_of_a_failed_agent_changes_nothing() -> None:
    """If two watches report the same failed agent, only the first report switches."""
    agents = Agents([ConsulApi(AT), ConsulApi(OTHER)])
    failed = agents.current
    agents.record_failure(failed)
    agents.record_failure(failed)
    assert agents.current.address == OTHER


# --- the store ------------------------------------------------------------------------------


def test_changes_are_published() -> None:
    """Each change is published; a response without a change notifies no listener."""
    watched = Watched(health(5, "a"), health(6, "a"), health(7, "a", "b"), health(8, "a", "b"))
    assert watched.published == [["a"], ["a", "b"]]
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
def test_error_is_recorded_until_the_next_good_response(
    outcome: Outcome, kind: type[ConsulError]
) -> None:
    """On any error the last good snapshot stays and the error is set; a good response clears it."""
    watched = Watched(health(5, "a"), outcome)
    assert ids(watched.store.current) == ["a"]
    assert type(watched.store.last_error) is kind
    assert watched.published == [["a"]]

    watched = Watched(health(5, "a"), outcome, health(6, "a"))
    assert watched.store.last_error is None
    assert watched.published == [["a"]]


# --- responses without a change --------------------------------------------------------------

NO_CHANGE = reply(200, b"not decoded", x_consul_index="5")
SAME_BYTES = health(6, "a")


@pytest.mark.parametrize("answer", [NO_CHANGE, SAME_BYTES])
def test_response_without_a_change_is_not_decoded(
    answer: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response with the same index or the same bytes is not decoded: the snapshot stays the same
    object, confirmed by Consul."""
    decoded: list[int] = []

    def counted(
        service: str, index: int, body: bytes, records: DecodedRecords, **given: Any
    ) -> Snapshot:
        decoded.append(index)
        return read_snapshot(service, index, body, records, **given)

    monkeypatch.setattr(api, "read_snapshot", counted)
    watched = Watched(health(5, "a"), answer)
    assert (decoded, ids(watched.store.current), watched.store.last_error) == ([5], ["a"], None)


def test_response_after_an_error_is_decoded() -> None:
    """An equal index means no change only after a query with that index, which an error resets."""
    assert Watched(health(5, "a"), refused(), health(5, "b")).published == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("headers", "staleness"),
    [
        ({}, 0.0),
        ({"x_consul_lastcontact": "0"}, 0.0),
        ({"x_consul_lastcontact": "4200"}, 4.2),
        ({"age": "7"}, 7.0),
        ({"age": "7", "x_consul_lastcontact": "1500"}, 8.5),
        ({"age": "soon", "x_consul_lastcontact": "-1"}, 0.0),
    ],
)
def test_staleness_is_subtracted_from_the_confirmation_time(
    headers: dict[str, str], staleness: float
) -> None:
    """The time since a server's last contact with the leader, and the age of a cached response, are
    subtracted from the confirmation time."""
    assert Watched(health(5, "a", **headers)).store.confirmed_at == 1_000.0 - staleness


LEADERLESS = {"x_consul_knownleader": "false"}
STREAMING = {**LEADERLESS, "x_consul_query_backend": "streaming"}


@pytest.mark.parametrize(
    ("headers", "published", "error"),
    [
        ({"x_consul_knownleader": "true"}, [["a"], ["b"]], False),
        (STREAMING, [["a"], ["b"]], False),
        (LEADERLESS, [["a"]], True),
        ({**LEADERLESS, "x_consul_query_backend": "blocking-query"}, [["a"]], True),
    ],
)
def test_response_of_a_server_without_a_leader_is_not_used(
    headers: dict[str, str], published: list[list[str]], error: bool
) -> None:
    """Such a response may be out of date. The streaming backend always returns this header."""
    watched = Watched(health(5, "a"), health(6, "b", **headers))
    assert (watched.published, watched.store.last_error is not None) == (published, error)
    assert watched.queries[2].get("index") == (None if error else "6")


def test_first_response_without_a_leader_is_used_unconfirmed() -> None:
    """Without another snapshot it is used, but not as a confirmation. An empty one is not used."""
    watched = Watched(health(5, "a", **LEADERLESS))
    assert (watched.published, watched.store.confirmed_at) == ([["a"]], None)
    assert watched.store.last_error is not None
    watched = Watched(health(5, **LEADERLESS), health(5, **LEADERLESS))
    assert watched.store.current is None


def test_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is logged once, with the source of the snapshot in use, and so is the recovery."""
    Watched(health(5, "a"), refused(), reply(500), health(6, "a"), health(7, "a"))
    outage, recovery = [record.getMessage() for record in caplog.records]
    assert outage.startswith("consul.error service='kato' why='no answer from Consul at ")
    assert outage.endswith("snapshot_source='consul'")
    assert recovery == "consul.recovered service='kato'"


@pytest.mark.parametrize("before", [[], [health(5, "a")], [health(5), health(5)]])
def test_use_of_critical_instances_is_logged_once(
    before: list[Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    """When it begins: at the start, after healthy instances, and after none."""
    critical = [health(index, "a", status="critical") for index in (6, 7)]
    Watched(*before, *critical, query=HealthQuery("kato", use_critical=True))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("discovery.using_critical service='kato'")


# --- empty responses ------------------------------------------------------------------------


def test_empty_response_is_confirmed_by_a_consistent_read() -> None:
    """After a pause the service is read again, consistently and without an index."""
    watched = Watched(health(5, "a"), health(6), health(6))
    assert watched.queries[2] == {"consistent": ""}
    assert watched.player.sent[2].timeout == CONSUL_TIMEOUT
    assert watched.player.slept == [EMPTY_CONFIRM_DELAY]
    assert watched.published == [["a"], []]
    assert watched.queries[3] == {"index": "6", "wait": "60.000s"}


def test_empty_response_that_is_not_confirmed_is_not_published() -> None:
    """If the second read has instances, an empty snapshot is never published."""
    watched = Watched(health(5, "a"), health(6), health(7, "a"))
    assert watched.published == [["a"]]
    assert watched.queries[3]["index"] == "7"


def test_first_empty_response_is_confirmed() -> None:
    """The first response may come from a cold cache, so it is confirmed, too."""
    assert Watched(health(6)).store.current is None
    assert ids(Watched(health(6), health(6)).store.current) == []
    assert Watched(health(6), health(6, "a")).published == [["a"]]


def test_known_empty_service_is_not_confirmed_again() -> None:
    """Later empty responses are not confirmed."""
    watched = Watched(health(6), health(6), health(7), health(8))
    assert [query.get("index") for query in watched.queries] == [None, None, "6", "7", "8"]
    assert watched.player.slept == [EMPTY_CONFIRM_DELAY]


@pytest.mark.parametrize("outcome", [refused(), reply(500, b"No cluster leader")])
def test_failed_confirmation_keeps_the_last_good_snapshot(outcome: Outcome) -> None:
    """If the second read fails, the last good snapshot stays, and the index is reset."""
    watched = Watched(health(5, "a"), health(6), outcome)
    assert ids(watched.store.current) == ["a"]
    assert watched.store.last_error is not None
    assert watched.queries[3] == {}


def ids(snapshot: Snapshot | None) -> Any:
    """Return the ids in a snapshot; None without one."""
    return None if snapshot is None else [one.id for one in snapshot.instances]


# --- many watches of one process ------------------------------------------------------------


def load_of(others: int, *, blocking: int) -> AgentLoad:
    """Return the load of other watches, so many of which block."""
    load, watches = AgentLoad(), [object() for _ in range(others)]
    for number, other in enumerate(watches):
        load.add(other)
        assert number >= blocking or load.begin_blocking(other, 0.0, is_new=False)
    return load


def test_watch_beyond_those_that_block_reads_at_an_interval() -> None:
    """It reads without an index, on a connection that it does not keep, and sees each change."""
    load = load_of(MAX_BLOCKING, blocking=MAX_BLOCKING)
    watched = Watched(health(7, "a"), health(7, "a"), health(9, "b"), draw=0.5, load=load)
    assert watched.queries == [{}, {}, {}, {}]
    assert watched.player.slept == [READ_INTERVAL] * 3
    assert [send.headers.get("Connection") for send in watched.player.sent[:2]] == [None, "close"]
    assert watched.published == [["a"], ["b"]]


def test_watch_of_several_blocks_after_its_second_read() -> None:
    """If others leave room for it, it blocks, for a share of the time of a single watch."""
    watched = Watched(health(7, "a"), health(7, "a"), draw=0.5, load=load_of(1, blocking=1))
    assert watched.queries == [{}, {}, {"index": "7", "wait": "30.000s"}]
    assert watched.player.slept == [READ_INTERVAL]


def test_refused_connection_ends_blocking() -> None:
    """After a 429 fewer watches block: this one reads, since the others block."""
    too_many = reply(429, "too many connections")
    load = load_of(2, blocking=2)
    watched = Watched(health(7, "a"), health(7, "a"), too_many, health(7, "a"), load=load)
    assert watched.queries == [{}, {}, {"index": "7", "wait": "20.000s"}, {}, {}]


@pytest.mark.parametrize(("others", "longest"), [(0, 0.1), (10 * MAX_BLOCKING - 1, 1.0)])
def test_pause_after_an_error_grows_with_the_number_of_watches(others: int, longest: float) -> None:
    """All watches of a process together do not retry more often than a few would."""
    assert Watched(refused(), load=load_of(others, blocking=0)).player.slept == [longest]


def test_watch_that_ends_leaves_the_load() -> None:
    """Its place among those that block is free."""
    load = AgentLoad()
    Watched(health(7, "a"), load=load)
    assert load.read_interval == READ_INTERVAL
    assert load._watches == set()
    assert load._blocking == set()
