"""Entry and state: what of a session's state is in its entry, and what an entry restores."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from kato_consul._directory.entry import (
    MAX_ALIASES,
    MAX_CUTS,
    MAX_JOURNAL_BYTES,
    Cut,
    Entry,
    KeyRecord,
    LogPosition,
    Mark,
    digest_of,
)
from kato_consul._kato.call_records import CallRecords
from kato_consul._kato.journal import (
    VECTOR_EVENT,
    AutoLearn,
    Journal,
    event_of,
    is_same_event,
    memory_length,
)
from kato_consul._kato.log_positions import restored_positions
from kato_consul._kato.pattern import PatternCount
from kato_consul._kato.session_state import DoubtfulLearn, SessionState
from kato_consul._kato.types import Event, Observation
from kato_consul._kato.write import Write
from kato_consul._kato.writes import learn

NO_CALLS = CallRecords()

DEFAULT_TTL = 3600
"""Seconds that KATO keeps a session that is opened without a time to live, unless KATO says so."""


def next_entry(
    last: Entry, state: SessionState, journal: Journal, *, with_observations: bool, **changes: Any
) -> Entry:
    """Return the entry to write after ``last``, for a session that continues as ``journal``.

    ``with_observations``: it may hold the observations. ``changes`` are fields that are not part of
    the state.
    """
    now = time.time()
    calls = (state.ownership and state.ownership.calls) or NO_CALLS
    lacks = _lacks_more_than_symbols(state, journal)
    observations = _small(journal) if with_observations and not lacks else None
    old, new = last.id, journal.session_id or ""
    aliases = last.aliases if old in ("", new) else (old, *last.aliases)[:MAX_ALIASES]
    fields: dict[str, Any] = {
        "revision": last.revision + 1,
        "id": new,
        "first_id": last.first_id if old and new else new,
        "aliases": aliases,
        "attached": state.attached,
        "deleting": state.deleting and old == new,
        "node_id": state.node_id,
        "config": journal.config,
        "auto_learn": tuple(journal.auto_learn),
        "metadata": state.metadata,
        "ttl": state.ttl,
        "time": journal.time,
        "events": journal.events,
        "digest": _digest(journal),
        "journal": observations,
        "lossy": observations is None
        and (lacks or any(map(has_more_than_symbols, journal.entries))),
        "mark": _mark(last, state, journal),
        "keys": tuple(calls.keys.values()),
        "positions": calls.positions.as_recorded(),
        "source": calls.positions.source,
        "written_at": now,
        "expires_at": max(expiry(state), last.expires_at),
    }
    return msgspec.structs.replace(last, **{**fields, **changes})


def expiry(state: SessionState, keeps_for: int = 0) -> float:
    """Return the Unix time at which an entry expires that is written now: later than KATO's
    session, since an owner writes the entry again before half of that time. ``keeps_for``: KATO
    keeps the session for so many seconds from now."""
    ttl = state.ttl or DEFAULT_TTL
    return time.time() + ttl + max(ttl, keeps_for)


def write_again_in(entry: Entry) -> float:
    """Return the seconds after which an entry has to be written again, so that it outlives KATO's
    session."""
    return entry.written_at + (entry.ttl or DEFAULT_TTL) / 2 - time.time()


def expires_in(entry: Entry) -> float:
    """Return the seconds after which the directory removes an entry that no process owns."""
    return entry.expires_at - time.time()


def is_expired(entry: Entry) -> bool:
    """Return whether KATO may have ended the session because nothing was written to it for so long:
    if an owner had written since, it would have written the entry again."""
    return time.time() - entry.written_at >= (entry.ttl or DEFAULT_TTL) / 2


def with_cut(entry: Entry, cut: Cut) -> tuple[Cut, ...]:
    """Return the cuts of ``entry`` and ``cut``, the newest last."""
    return (*entry.cuts, cut)[-MAX_CUTS:]


def cut_of(entry: Entry, time: int, stm: Sequence[Event]) -> Cut:
    """Return the cut of a takeover that found this counter and memory."""
    return Cut(entry.epoch, time, len(stm), digest_of(stm))


def shows(cut: Cut, journal: Journal) -> bool:
    """Return whether a takeover found the session as ``journal`` says.

    Only the owner of that time wrote to the session, one write at a time, and each changes the
    counter or the number of events. The digest tells if that was not so.
    """
    same = (cut.time, cut.events) == (journal.time, memory_length(journal.events))
    return same and _digest(journal) in ("", cut.digest)


def restored(entry: Entry) -> Journal:
    """Return the journal of a session that its owner has released. Without observations in the
    entry, it is not `Journal.complete` unless the memory is empty."""
    return Journal.restored(
        entry.config,
        entry.id or None,
        time=entry.time,
        events=entry.events,
        entries=[Observation(**one) for one in entry.journal or ()],  # type: ignore[typeddict-item]
        auto_learn=AutoLearn(*entry.auto_learn),
    )


def found(entry: Entry, time: int, stm: Sequence[Event]) -> tuple[Journal, bool]:
    """Return the journal of KATO's counter and memory, and whether it may lack emotives or metadata
    of observations. Those that the entry has are taken from there, if they are still in it: KATO
    may have learned them since, and an event of vectors looks like any other."""
    known = [Observation(**one) for one in entry.journal or ()]  # type: ignore[typeddict-item]
    events = [event for event in map(event_of, known) if event]
    lossy = entry.lossy
    since = time - entry.time
    if since < 0 or len(events) + since > len(stm) or not all(map(is_same_event, events, stm)):
        lossy = lossy or any(map(has_more_than_symbols, known))
        known, events = [], []
    added = [Observation(strings=list(event)) for event in stm[len(events) :]]
    journal = Journal.restored(
        entry.config,
        entry.id,
        time=time,
        events=len(stm),
        entries=[*known, *added],
        auto_learn=AutoLearn(*entry.auto_learn),
    )
    return journal, lossy and len(stm) > len(events)


def restored_calls(
    entry: Entry, earlier: CallRecords | None, cut: Cut | None = None
) -> CallRecords | None:
    """Return the records of calls of a session that another process has left; None if it has none.

    ``earlier`` are those of this process, from when it owned the session before.
    ``cut`` is that of a takeover which was not orderly: it shows what came after the entry was
    written. A write in flight is part of it if the counter or the memory has changed since: the
    entry was written just before it was sent.
    """
    if not entry.keys and not entry.positions:
        return None
    seen = cut is not None and (
        cut.time > entry.time
        or (cut.time < entry.time and entry.sets_back)
        or (cut.time == entry.time and cut.events != memory_length(entry.events))
    )
    keys = {one.key: _resolved(one, seen, given_up=cut is not None) for one in entry.keys}
    positions = {(one.log, one.partition): one for one in entry.positions}
    mark = entry.mark
    if mark is not None and mark.position is not None and cut is not None:
        log, partition, offset = mark.position.log, mark.position.partition, mark.position.offset
        before = positions.get((log, partition), mark.position)
        if not seen:
            positions[log, partition] = msgspec.structs.replace(before, unknown=offset)
        elif mark.what == "learn":  # the counter does not show it, and it ends its message
            count = before.count + before.ahead
            positions[log, partition] = LogPosition(log, partition, offset, 0, count)
    since = max(0, cut.time - entry.time) if cut is not None else 0
    restored = restored_positions(positions.values(), entry.source, since=since)
    if earlier is not None:
        restored.remember(earlier.positions)
    return CallRecords(keys, restored)


def _resolved(record: KeyRecord, seen: bool, *, given_up: bool) -> KeyRecord:
    """Return the record of a call, as a takeover has found the session: ``seen`` if the write in
    flight is in it. ``given_up``: otherwise it may still be on its way."""
    if record.unknown or not record.in_flight:
        return record
    if seen:
        done = record.applied + record.in_flight
        return msgspec.structs.replace(record, applied=done, in_flight=0)
    if record.once_only and given_up:
        return msgspec.structs.replace(record, unknown=True)
    observations = 0 if record.once_only else record.in_flight
    return msgspec.structs.replace(record, in_flight=0, time=max(0, record.time - observations))


def has_more_than_symbols(observation: Observation) -> bool:
    """Return whether an observation has what a short-term memory does not show."""
    return bool(observation.get("emotives") or observation.get("metadata"))


def mark_before(write: Write[Any], state: SessionState) -> Mark:
    """Return the mark of a write that is never sent twice."""
    pattern = write.pattern
    journal = state.journal
    return Mark(
        what=write.what,
        time=journal.time,
        events=memory_length(journal.events),
        instance=state.current or state.instance or "",
        pattern=pattern.name if pattern is not None else "",
        frequency=pattern.frequency if pattern is not None else None,
        position=_position(write),
    )


def _position(write: Write[Any]) -> LogPosition | None:
    """Return the message that a write is sent for, unless it may be sent again."""
    position = write.part.position if write.part is not None else None
    if position is None or write.clears_only:
        return None
    return LogPosition(position.log, position.partition, position.offset)


def doubtful_learn(mark: Mark, journal: Journal) -> DoubtfulLearn:
    """Return the learn of a mark, which may still be applied to the node."""
    pattern = PatternCount(mark.pattern, mark.frequency) if mark.pattern else None
    return DoubtfulLearn(learn(pattern), journal.generation, journal.events)


def _mark(last: Entry, state: SessionState, journal: Journal) -> Mark | None:
    """Return the mark of a learn whose outcome is not known: if the memory is the one that it would
    learn, no owner may learn that again."""
    mark = last.mark
    if state.pending is not None:
        if state.pending.resets and journal is state.journal:
            return mark  # the next owner may find a counter that was set back
        if mark is None or not journal.events or not state.pending.is_once_only(state.journal):
            return None
        return msgspec.structs.replace(
            mark, time=journal.time, events=memory_length(journal.events)
        )
    if mark is not None and state.unsaved is not None:  # KATO may show what was learned again
        return msgspec.structs.replace(mark, instance="", position=None)
    doubt = state.doubtful_learn
    if doubt is None or not doubt.is_about(journal):
        return None
    pattern = doubt.write.pattern
    return Mark(
        what=doubt.write.what,
        time=journal.time,
        events=memory_length(journal.events),
        instance="",
        pattern="" if pattern is None else pattern.name,
        frequency=None if pattern is None else pattern.frequency,
    )


def _lacks_more_than_symbols(state: SessionState, journal: Journal) -> bool:
    """Return whether the memory may have emotives or metadata that the journal lacks. A journal of
    the first generation is of the memory that was handed over."""
    own = state.ownership
    return own is not None and own.lacks and journal.events > 0 and not journal.generation


def _digest(journal: Journal) -> str:
    """Return the digest of the memory; "" if the journal does not know it: not all events of it, or
    not the symbols that KATO chose for vectors."""
    stm = journal.stm
    if VECTOR_EVENT in stm or not journal.complete:
        return ""
    return digest_of(stm)


def _small(journal: Journal) -> tuple[Observation, ...] | None:
    """Return the observations for an entry; None if they are too large for it, or not all known."""
    if not journal.complete:
        return None
    entries = tuple(journal.entries)
    return entries if len(msgspec.json.encode(entries)) <= MAX_JOURNAL_BYTES else None
