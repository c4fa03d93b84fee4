"""Conflict proof: proves that a session's state comes from this client's own writes alone.

Only a proven state may be repaired. The proof starts from one state that this client has left (the
journal, or what it was before a learn that KATO may not have saved), and has two parts:

* every event that KATO has is an event of that state, in order, or one that a later or pending
  write of this client may have added, each at most once. No other writer's event is there;
* the counter fits: 1 lower for each missing observation (KATO lost it: a full store), and 1 higher
  for each added one. A learn or clear by another writer removes events and keeps the counter, or
  sets it to 0. It does not fit, unless a pending write of this client may have done that.

Late writes need no proof: a session in which one may be applied is left (`replace_session`).
"""

from collections.abc import Iterator, Sequence

from kato_consul._kato.journal import Journal, event_of, is_same_event
from kato_consul._kato.types import Event, Observation


def own_writes_explain(
    journal: Journal,
    unsaved: Journal | None,
    pending: Sequence[Observation],
    time: int,
    stm: Sequence[Event],
    *,
    may_have_emptied: bool = False,
) -> bool:
    """Return whether this client's own writes alone can lead to counter ``time`` and ``stm``.

    ``unsaved`` is the journal before a learn that KATO may not have saved, None if there is none.
    ``pending`` are the observations of a write that may have been applied, and
    ``may_have_emptied`` is whether it may have learned or cleared events, which are not in the
    memory then.
    """
    for base, may_be_added in _base_states(journal, unsaved, list(pending)):
        lowest, highest = _counter_range(base, may_be_added, stm)
        if may_have_emptied:
            highest = base.time + len(may_be_added)
        optional = [event for event in map(event_of, may_be_added) if event]
        if lowest <= time <= highest and _consists_of(stm, base.stm, optional):
            return True
    return False


def _base_states(
    journal: Journal, unsaved: Journal | None, pending: list[Observation]
) -> Iterator[tuple[Journal, list[Observation]]]:
    """Yield the states that this client left, each with the observations that may be on top."""
    yield journal, pending
    if unsaved is not None:
        yield unsaved, journal.entries + pending


def _counter_range(
    base: Journal, may_be_added: Sequence[Observation], stm: Sequence[Event]
) -> tuple[int, int]:
    """Return the lowest and the highest counter that fits these events.

    They differ by the observations without symbols, which leave no event: those of ``base`` may be
    missing, and added ones may be there.
    """
    fitting = base.time - base.events + len(stm)
    without_symbols = len(base.entries) - len(base.stm)
    return fitting - without_symbols, fitting + sum(not event_of(one) for one in may_be_added)


def _consists_of(
    stm: Sequence[Event], expected: Sequence[Event], optional: Sequence[Event]
) -> bool:
    """Return whether each event of ``stm`` is one of ``expected``, in order, or one of
    ``optional``, none of them used twice.

    An event that fits several is matched greedily: the next expected one, else an optional one,
    else a later expected one, with those before it missing. This can fail where another choice
    would succeed. Then nothing is proven, and a conflict is reported instead of repaired.
    """
    unused = list(optional)
    position = 0
    for event in stm:
        if position < len(expected) and is_same_event(expected[position], event):
            position += 1
        elif (index := _index_of(event, unused)) is not None:
            del unused[index]
        elif (skipped := _index_of(event, expected[position:])) is not None:
            position += skipped + 1
        else:
            return False
    return True


def has_added(events: Sequence[Event], before: Sequence[Event], after: Sequence[Event]) -> bool:
    """Return whether ``after`` has each of ``events`` in addition to those of ``before``."""

    def count(event: Event, memory: Sequence[Event]) -> int:
        return sum(is_same_event(event, other) for other in memory)

    return all(
        count(event, after) - count(event, before) >= count(event, events) for event in events
    )


def _index_of(event: Event, events: Sequence[Event]) -> int | None:
    return next((index for index, one in enumerate(events) if is_same_event(one, event)), None)
