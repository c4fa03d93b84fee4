"""Call records: when the entry has to be written before the next write is sent."""

from kato_consul._kato import writes
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.journal import Journal


def announced(calls: CallRecords, part: CallPart | None) -> bool:
    """Announce an observation, and return whether the entry has to be written first."""
    write = writes.observe({"strings": ["a"]}).of(part)
    calls.announce(write, Journal(), write.apply(Journal()))
    was = calls.unrecorded
    calls.is_recorded()
    return was


def test_key_is_in_the_entry_before_its_write_is_sent() -> None:
    """Before each attempt: another KATO session has other counters."""
    calls, part = CallRecords(), CallPart("k", "digest", None, 1, 1)
    assert announced(calls, part)
    assert announced(calls, part)
    calls.applied(part)
    assert not announced(calls, None)


def test_refused_key_is_taken_out_of_the_entry_before_another_write() -> None:
    """That one has the counter which the entry expects of the refused one."""
    calls = CallRecords()
    announced(calls, CallPart("k", "digest", None, 1, 1))
    assert announced(calls, None)
    assert calls.keys == {}
    assert not announced(calls, None)


def test_part_that_was_given_up_stays_in_flight() -> None:
    """Its outcome is unknown for good, until it is seen all the same."""
    calls, part = CallRecords(), CallPart("k", "digest", None, 1, 1)
    announced(calls, part)
    calls.give_up(part)
    assert announced(calls, None)
    assert calls.keys["k"].unknown
    calls.applied(part)
    calls.applied(part)
    assert (calls.keys["k"].applied, calls.keys["k"].unknown) == (1, False)
