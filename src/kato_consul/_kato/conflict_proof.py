"""Can what KATO has come from this client's own writes alone? Only then may it be put back.

The proof has two parts, for one of our own states (the journal, or what a late write had read):

* every event there is one of that state's, in order, or one that a late or pending write of ours
  may have added, each at most once: nobody else's is there;
* the counter fits: down by one for each observation that is missing (KATO lost it: a full store, a
  late overwrite), and up by one for each that was added. A learn or clear by somebody else takes
  events away and leaves the counter, or sets it to 0, and so does not fit, unless a late
  clear of our own may have done it.

While a ``learn`` of our own may still land, nothing is proven: what is missing may have been
learned by it, and putting it back would have it learned twice.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kato_consul._kato.journal import Journal, event_of, is_event
from kato_consul._kato.session_state import InFlightWrite
from kato_consul._kato.types import Event, Observation
from kato_consul._kato.writes import Write


def explains(
    journal: Journal,
    ghosts: Sequence[InFlightWrite],
    pending: Write[Any] | None,
    time: int,
    stm: Sequence[Event],
) -> bool:
    """Is a counter of ``time`` with these events a state that our own writes lead to?"""
    if any(ghost.write.not_repeatable for ghost in ghosts):
        return False
    writes = [ghost.write for ghost in ghosts] + ([pending] if pending is not None else [])
    added = [one for write in writes for one in write.observations]
    may_clear = any(write.resets for write in writes)
    for own, more in _own_states(journal, ghosts, added):
        lowest, highest = _counters(own, more, stm)
        if may_clear:
            lowest = len(stm)
        spare = [event for event in map(event_of, more) if event]
        if lowest <= time <= highest and _made_of(stm, own.stm, spare):
            return True
    return False


def _own_states(
    journal: Journal, ghosts: Sequence[InFlightWrite], added: list[Observation]
) -> Iterator[tuple[Journal, list[Observation]]]:
    """States that were ours once, each with the observations that may have come on top of it."""
    yield journal, added
    for ghost in ghosts:
        yield ghost.before, added + journal.entries


def _counters(own: Journal, more: Sequence[Observation], stm: Sequence[Event]) -> tuple[int, int]:
    """The lowest and the highest counter that fits these events.

    They differ by what leaves no event: our own observations without symbols may be missing, and
    added ones may be there.
    """
    fitting = own.time - own.events + len(stm)
    silent = len(own.entries) - len(own.stm)
    return fitting - silent, fitting + sum(not event_of(one) for one in more)


def _made_of(found: Sequence[Event], ours: Sequence[Event], spare: Sequence[Event]) -> bool:
    """Is each event found one of ``ours``, in order, or else one of ``spare``, none twice?

    An event that could be several things is taken for our next one, else for a spare one, else for
    the next of ours like it, with those before it missing. That can fail where another choice would
    do; then the proof is not made, and a conflict is told instead of repaired.
    """
    left = list(spare)
    position = 0
    for event in found:
        if position < len(ours) and is_event(ours[position], event):
            position += 1
        elif (mine := _first(left, event)) is not None:
            del left[mine]
        elif (next_one := _first(ours[position:], event)) is not None:
            position += next_one + 1
        else:
            return False
    return True


def _first(events: Sequence[Event], event: Event) -> int | None:
    return next((place for place, one in enumerate(events) if is_event(one, event)), None)
