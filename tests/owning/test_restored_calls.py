"""What a process finds of another one's calls with keys and positions: a table of entries, and of
the counter and memory in which a takeover finds KATO."""

import msgspec
import pytest

from kato_consul._directory.entry import Cut, Entry, KeyRecord, LogPosition, Mark
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.log_positions import LogPositions, Track
from kato_consul._owning.entry_state import restored_calls
from kato_consul.errors import ConfigurationError
from kato_consul.models import Position

LOG = ("observations", 0)
CLICKS = ("clicks", 3)


def entry(
    *keys: KeyRecord,
    positions: tuple[LogPosition, ...] = (),
    source: tuple[str, int] | None = None,
    mark: Mark | None = None,
) -> Entry:
    """Return an entry as of counter 10, with four events in the memory."""
    return Entry(
        key="user", time=10, events=4, keys=keys, positions=positions, source=source, mark=mark
    )


def cut(time: int = 10, events: int = 4) -> Cut:
    """Return what a takeover has found."""
    return Cut(1, time, events, "")


def record_of(record: KeyRecord, found: Cut | None) -> KeyRecord:
    """Return the record of a key as it is restored."""
    calls = restored_calls(entry(record), None, found)
    assert calls is not None
    return calls.keys["k"]


OBSERVE = KeyRecord("k", "digest", applied=2, in_flight=3, time=13, events=7)
LEARN = KeyRecord("k", "digest", in_flight=1, once_only=True, time=10, events=0)


@pytest.mark.parametrize(
    ("record", "found", "applied", "unknown"),
    [
        pytest.param(OBSERVE, cut(10, 4), 2, False, id="it was not applied, and never will be"),
        pytest.param(OBSERVE, cut(13, 7), 5, False, id="it was applied"),
        pytest.param(OBSERVE, cut(13, 1), 5, False, id="applied, and KATO learned by itself"),
        pytest.param(OBSERVE, cut(20, 2), 5, False, id="applied, and others after it"),
        pytest.param(OBSERVE, cut(9, 3), 2, False, id="KATO has lost something"),
        pytest.param(OBSERVE, None, 2, False, id="released: nothing was in flight"),
        pytest.param(LEARN, cut(10, 4), 0, True, id="a learn that is not seen may still come"),
        pytest.param(LEARN, cut(10, 0), 1, False, id="a learn empties the memory"),
        pytest.param(LEARN, cut(14, 4), 1, False, id="a learn, and as many observations after it"),
        pytest.param(LEARN, None, 0, False, id="a learn that was refused, then released"),
    ],
)
def test_write_in_flight(record: KeyRecord, found: Cut | None, applied: int, unknown: bool) -> None:
    """It is in the session if the counter or the memory has changed since the entry was written."""
    restored = record_of(record, found)
    assert (restored.applied, restored.unknown) == (applied, unknown)
    assert bool(restored.in_flight) == unknown


def test_counter_of_a_call_that_is_applied_in_part() -> None:
    """It is that of the part that is applied: the repetition answers with it."""
    assert record_of(OBSERVE, cut(10, 4)).time == 10
    assert record_of(OBSERVE, cut(13, 7)).time == 13


@pytest.mark.parametrize("found", [None, cut(10, 4), cut(30, 1)])
def test_unknown_stays_unknown(found: Cut | None) -> None:
    """What later owners observe is no sign of an earlier learn."""
    lost = msgspec.structs.replace(LEARN, unknown=True)
    assert record_of(lost, found) == lost


def track_of(stored: Entry, found: Cut | None) -> Track:
    """Return the track of the log as it is restored."""
    calls = restored_calls(stored, None, found)
    assert calls is not None
    return calls.positions.tracks[LOG]


AT_40 = (LogPosition(*LOG, 40, 0, 100),)


@pytest.mark.parametrize(
    ("stored", "found", "expected"),
    [
        pytest.param(
            entry(positions=AT_40, source=LOG),
            cut(16, 9),
            Track(40, 6, 100, must_ask=True, given=40),
            id="observations since then are those of the next messages",
        ),
        pytest.param(
            entry(positions=(LogPosition(*LOG, 40, 2, 100),), source=LOG),
            cut(16, 9),
            Track(40, 8, 100, must_ask=True, given=40),
            id="a message was applied in part as of the entry",
        ),
        pytest.param(
            entry(positions=AT_40),
            cut(16, 9),
            Track(40, 0, 100, given=40),
            id="they come from calls without a position",
        ),
        pytest.param(
            entry(positions=(*AT_40, LogPosition(*CLICKS, 7)), source=CLICKS),
            cut(16, 9),
            Track(40, 0, 100, given=40),
            id="they come from another log",
        ),
        pytest.param(
            entry(positions=AT_40, source=LOG),
            None,
            Track(40, 0, 100, given=40),
            id="released",
        ),
        pytest.param(
            entry(positions=AT_40, source=LOG),
            cut(3, 3),
            Track(40, 0, 100, given=40),
            id="KATO has lost something",
        ),
        pytest.param(
            entry(positions=AT_40, source=LOG, mark=Mark("clear_stm", 10, 4, "")),
            cut(0, 0),
            Track(40, 0, 100, given=40),
            id="cleared",
        ),
        pytest.param(
            entry(
                positions=(LogPosition(*LOG, 40, 3, 100),),
                source=LOG,
                mark=Mark("learn", 10, 4, "", position=LogPosition(*LOG, 41)),
            ),
            cut(10, 0),
            Track(41, 0, 103, given=41),
            id="a learn that ends its message",
        ),
        pytest.param(
            entry(
                positions=AT_40,
                source=LOG,
                mark=Mark("learn", 10, 4, "", position=LogPosition(*LOG, 41)),
            ),
            cut(12, 2),
            Track(41, 2, 100, must_ask=True, given=41),
            id="a learn, and messages after it",
        ),
        pytest.param(
            entry(
                positions=AT_40,
                source=LOG,
                mark=Mark("learn", 10, 4, "", position=LogPosition(*LOG, 41)),
            ),
            cut(10, 4),
            Track(40, 0, 100, given=41, unknown=True),
            id="a learn that is not seen",
        ),
        pytest.param(
            entry(
                positions=AT_40,
                source=LOG,
                mark=Mark("observe", 10, 4, "", position=LogPosition(*LOG, 41)),
            ),
            cut(11, 0),
            Track(40, 1, 100, must_ask=True, given=40),
            id="an observation with which KATO learned: its tick tells",
        ),
        pytest.param(
            entry(
                positions=AT_40,
                source=LOG,
                mark=Mark("observe", 10, 4, "", position=LogPosition(*LOG, 41)),
            ),
            cut(10, 4),
            Track(40, 0, 100, given=41, unknown=True),
            id="an observation with which KATO may have learned",
        ),
    ],
)
def test_position_that_a_takeover_finds(stored: Entry, found: Cut | None, expected: Track) -> None:
    """The position of the entry, and the counter's difference."""
    assert track_of(stored, found) == expected


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        pytest.param(
            Track(60, 0, 106, given=60), Track(60, 0, 106, given=60), id="all of them its own"
        ),
        pytest.param(
            Track(55, 2, 104, given=58), Track(55, 2, 104, given=58), id="the last in part"
        ),
        pytest.param(
            Track(55, 0, 104, given=55), Track(55, 2, 104, given=55), id="another went on"
        ),
        pytest.param(
            Track(30, 0, 90), Track(40, 6, 100, must_ask=True, given=40), id="it knows less"
        ),
        pytest.param(
            Track(70, 0, 120), Track(40, 6, 100, must_ask=True, given=40), id="KATO lost some"
        ),
    ],
)
def test_what_this_process_has_applied_itself(earlier: Track, expected: Track) -> None:
    """Its caller goes on after its own last message, of which the entry knew nothing."""
    known = CallRecords(positions=LogPositions({LOG: earlier}))
    calls = restored_calls(entry(positions=AT_40, source=LOG), known, cut(16, 9))
    assert calls is not None
    assert calls.positions.tracks[LOG] == expected
    # A message up to there may have been left out: the entry does not know it yet.
    assert calls.positions.unrecorded is (expected.offset == earlier.offset)


def test_message_that_this_process_has_left_out() -> None:
    """The next message that it gives shows that, also after another process had the session."""
    known = CallRecords(positions=LogPositions({LOG: Track(40, 0, 100, given=43)}))
    calls = restored_calls(entry(positions=AT_40, source=LOG), known, None)
    assert calls is not None
    calls.positions.give(Position(*LOG, 44))
    assert calls.positions.tracks[LOG].offset == 43
    assert calls.positions.unrecorded


def positions_of(stored: Entry, found: Cut) -> LogPositions:
    """Return the positions of a process that has taken the session over."""
    calls = restored_calls(stored, None, found)
    assert calls is not None
    return calls.positions


def test_caller_that_was_not_told_must_ask() -> None:
    """Unless it reads the log again from a message that the entry knows. Messages that it gives all
    the same are not taken for left out."""
    positions = positions_of(entry(positions=AT_40, source=LOG), cut(16))
    for offset in (45, 50):
        with pytest.raises(ConfigurationError, match="read the log again"):
            positions.give(Position(*LOG, offset))
    assert positions.newest(None) == Position(*LOG, 40)
    assert positions.give(Position(*LOG, 41)).ahead == 6
    positions = positions_of(entry(positions=AT_40, source=LOG), cut(16))
    positions.give(Position(*LOG, 12))
    assert positions.give(Position(*LOG, 41)).ahead == 6


@pytest.mark.parametrize(
    "track",
    [
        Track(40, 0, 100, given=40),
        Track(40, 2, 100, must_ask=True, given=40),
        Track(40, 0, 100, given=43, unknown=True),
    ],
)
def test_what_the_next_owner_finds_of_a_log(track: Track) -> None:
    """After a hand-over it knows the same, and which message may be applied."""
    recorded = LogPositions({LOG: track}).as_recorded()
    assert track_of(entry(positions=recorded), None) == track


def test_entry_without_calls() -> None:
    """Then the calls of a session cost nothing."""
    assert restored_calls(entry(), None, cut(16)) is None
