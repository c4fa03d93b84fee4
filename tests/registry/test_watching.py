"""Watching one service: each rule of HashiCorp's law, and when an empty answer is believed."""

import contextlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kato_consul.board import Board
from kato_consul.errors import (
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
)
from kato_consul.flow import Outcome, Send
from kato_consul.model import Snapshot
from kato_consul.registry.calls import ANSWER_WITHIN, ConsulCalls
from kato_consul.registry.watching import HOLD, SLACK, next_index, watch
from kato_consul.testing.clock import ManualClock
from tests.building import ScriptEnds, hung, refused, reply, script
from tests.flows import Player


def found(index: int, *ids: str) -> Outcome:
    """Consul's answer with these instances, all passing."""
    entries = [
        {
            "Node": {"Node": "n1", "Address": "10.0.0.1"},
            "Service": {"ID": one, "Service": "kato", "Address": "", "Port": 8000},
            "Checks": [{"CheckID": "alive", "Status": "passing"}],
        }
        for one in ids
    ]
    return reply(200, entries, x_consul_index=str(index))


class Watched:
    """A watch that went on until the script of Consul's answers ended.

    ``player`` holds its steps, ``board`` what it left there, and ``shown`` the ids of each snapshot
    that readers were woken for.
    """

    def __init__(self, *answers: Outcome, chance: float = 1.0, **options: float) -> None:
        self.board = Board("kato")
        self.shown: list[list[str]] = []
        self.player = Player(script(answers), clock=ManualClock(1_000.0))
        calls = ConsulCalls("http://consul.test:8500")
        flow = watch(calls, self.board, clock=self.player.clock, random=lambda: chance, **options)
        with self.board.listening(self._seen), contextlib.suppress(ScriptEnds):
            self.player.play(flow)

    def _seen(self) -> None:
        current = self.board.current
        self.shown.append([one.id for one in current.instances] if current else [])

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
    assert Watched(found(7, "kato-1")).asked == [{}, {"index": "7", "wait": "300.000s"}]


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
    assert first.timeout == ANSWER_WITHIN
    assert blocking.timeout == timeout
    assert timeout == wait + wait / 16 + SLACK


# --- how often ------------------------------------------------------------------------------


def test_busy_service() -> None:
    """Answers without pause are taken at once ten times, and then twice a second."""
    answers = [found(index, "kato-1") for index in range(1, 31)]
    assert Watched(*answers).player.slept == pytest.approx([0.5] * 21)


def test_quiet_service() -> None:
    """Queries that block for long are never paced."""
    board, clock = Board("kato"), ManualClock(1_000.0)
    answers = script([found(index, "kato-1") for index in range(1, 31)])

    def slow(send: Send) -> Outcome:
        clock.advance(10.0)
        return answers(send)

    player = Player(slow, clock=clock)
    calls = ConsulCalls("http://consul.test:8500")
    with contextlib.suppress(ScriptEnds):
        player.play(watch(calls, board, clock=clock, random=lambda: 1.0))
    assert player.slept == []


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_backoff(chance: float) -> None:
    """Errors are answered by growing pauses, each drawn from the whole of its range."""
    ceilings = [0.1, 0.2, 0.4, 0.5, 0.5]
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


# --- what readers see -----------------------------------------------------------------------


def test_snapshots() -> None:
    """Each change is shown; an answer without one wakes nobody."""
    watched = Watched(found(5, "a"), found(6, "a"), found(7, "a", "b"), found(8, "a", "b"))
    assert watched.shown == [["a"], ["a", "b"]]
    assert watched.board.current is not None


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
    assert ids(watched.board.current) == ["a"]
    assert type(watched.board.trouble) is kind
    assert watched.shown == [["a"]]

    watched = Watched(found(5, "a"), outcome, found(6, "a"))
    assert watched.board.trouble is None
    assert watched.shown == [["a"]]


# --- an empty answer ------------------------------------------------------------------------


def test_empty_is_confirmed() -> None:
    """An empty answer is held, then read again from the leader, without an index: then believed."""
    watched = Watched(found(5, "a"), found(6), found(6))
    assert watched.asked[2] == {"consistent": ""}
    assert watched.player.sent[2].timeout == ANSWER_WITHIN
    assert watched.player.slept == [HOLD]
    assert watched.shown == [["a"], []]
    assert watched.asked[3] == {"index": "6", "wait": "300.000s"}


def test_empty_was_a_lie() -> None:
    """When the second read finds instances, nobody ever saw an empty service."""
    watched = Watched(found(5, "a"), found(6), found(7, "a"))
    assert watched.shown == [["a"]]
    assert watched.asked[3]["index"] == "7"


def test_empty_from_the_start() -> None:
    """The first answer may be a cold cache's: it is confirmed, too."""
    assert Watched(found(6)).board.current is None
    assert ids(Watched(found(6), found(6)).board.current) == []
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
    assert ids(watched.board.current) == ["a"]
    assert watched.board.trouble is not None
    assert watched.asked[3] == {}


def ids(snapshot: Snapshot | None) -> Any:
    """The ids in a snapshot; None when there is none."""
    return None if snapshot is None else [one.id for one in snapshot.instances]
