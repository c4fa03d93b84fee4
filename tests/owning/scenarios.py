"""The calls that the search makes, and what is broken without each rule."""

import random

from tests.owning.positions_model import Message, PositionRule
from tests.owning.rules import Rule
from tests.owning.world import NO_CALL, Call, Kind


def observes(caller: str, *, key: bool = False, retries: int = NO_CALL) -> Call:
    """Return a call that observes; ``retries``: the call whose key it has."""
    return Call(caller, Kind.OBSERVE, key or retries != NO_CALL, retries)


def learns(caller: str, *, key: bool = False, retries: int = NO_CALL) -> Call:
    """Return a call that learns."""
    return Call(caller, Kind.LEARN, key or retries != NO_CALL, retries)


def clears(caller: str) -> Call:
    """Return a call that clears the memory."""
    return Call(caller, Kind.CLEAR)


SCENARIOS = {
    "one": (observes("a"),),
    "two": (observes("a"), observes("b")),
    "three": (observes("a"), observes("a"), observes("b")),
    "read": (observes("a"), Call("b", Kind.READ)),
    "learn": (observes("a"), learns("a"), observes("b")),
    "two learns": (observes("a"), learns("a"), learns("b")),
    "clear": (observes("a"), clears("a"), observes("b")),
    "key": (observes("a", key=True), observes("b", retries=0), observes("c")),
    "key of a learn": (observes("a"), learns("a", key=True), learns("b", retries=1)),
    "key and clear": (observes("a", key=True), clears("a"), observes("b", retries=0)),
}
"""The calls of each search: they begin at any time in any process, those of a caller in order."""

WITHOUT = {
    Rule.ANSWER_UNDER_LEASE: ("two", 1, "the acknowledged call 0 is lost"),
    Rule.SETTLE_UNDER_LEASE: ("two", 2, "the acknowledged call 0 is lost"),
    Rule.READ_UNDER_LEASE: ("read", 1, "a read lacks the acknowledged call 0"),
    Rule.FENCE_TAKEOVER: ("two", 1, "a request of an earlier owner can reach"),
    Rule.FENCE_UNKNOWN_WRITE: ("two", 1, "KATO's session is not what its owner knows of it"),
    Rule.RESUME_COMPLETE: ("three", 1, "KATO's session is not what its owner knows of it"),
    Rule.RESUME_REVISION: ("one", 3, "an owner uses an id that is not the entry's"),
    Rule.CAS_EPOCH: ("three", 1, "a request of an earlier owner can reach"),
    Rule.CAS_REVISION: ("key", 1, "an observation is applied twice"),
    Rule.SWITCH_BY_CAS: ("two", 1, "a process has a valid lease, and another epoch has begun"),
    Rule.ACQUISITION_IS_AN_EPOCH: ("three", 1, "a request of an earlier owner can reach"),
    Rule.UNKNOWN_ENTRY_WRITE: ("two", 3, "an owner uses an id that is not the entry's"),
    Rule.RELEASE_SETTLED: ("two", 1, "a request of an earlier owner can reach"),
    Rule.ACQUISITION_CLEARS_RELEASED: ("two", 1, "KATO's session is not what its owner knows"),
    Rule.UNKNOWN_LEASE_GIVEN_UP: ("two", 2, "no progress is possible"),
    Rule.CUT_DECIDES: ("two", 1, "an observation is applied twice"),
    Rule.CUT_CONSISTENT: ("two", 1, "an observation is applied twice"),
    Rule.FIRST_CUT: ("two", 2, "an observation is applied twice"),
    Rule.NEW_ID_KEPT: ("key", 2, "the acknowledged call 2 is lost"),
    Rule.OLD_ID_KEPT: ("two", 2, "the acknowledged call 0 is lost"),
    Rule.LEARN_UNSEEN: ("learn", 1, "a learn is applied twice"),
    Rule.LEARN_LOST_LEASE: ("learn", 1, "a learn is applied twice"),
    Rule.MARK: ("two learns", 1, "one memory is learned twice"),
    Rule.MARK_KEPT: ("two learns", 1, "one memory is learned twice"),
    Rule.DOUBT: ("two learns", 1, "one memory is learned twice"),
    Rule.KEY: ("key", 1, "an observation is applied twice"),
    Rule.KEY_SETTLED: ("key", 1, "an observation is applied twice"),
    Rule.KEY_LOOKUP: ("key", 1, "an observation is applied twice"),
    Rule.CLEAR_SETTLES_KEYS: ("key and clear", 1, "an observation is applied twice"),
    Rule.REFUSAL_REWRITES: ("key", 2, "the acknowledged call 1 is lost"),
}
"""Each rule: the scenario in which its absence shows, the faults that it takes, what is broken."""

LOGS = {
    "learn and clear": (
        Message("observe", 2),
        Message("refused", 1),
        Message("observe", 1),
        Message("learn"),
        Message("observe", 1),
        Message("clear"),
        Message("observe", 2),
    ),
    "auto-learn": (
        Message("observe", 2),
        Message("auto", 1),
        Message("observe", 1),
        Message("refused", 2),
        Message("clear"),
        Message("observe", 1),
        Message("learn"),
        Message("observe", 1),
    ),
}
"""Logs of one key. Another source makes one call between any two messages."""

POSITIONS_WITHOUT = {
    PositionRule.TICKS: ("learn and clear", "the counter has more ticks than the log"),
    PositionRule.REFUSED_RECORDED: ("learn and clear", "the position is not that of the session"),
    PositionRule.LEARN_MARKED: ("learn and clear", "the position is not that of the session"),
    PositionRule.LEARN_RECORDED: ("learn and clear", "a message is applied twice, or left out"),
    PositionRule.CLEAR_MARKED: ("learn and clear", "is behind the record"),
    PositionRule.CLEAR_RECORDED: ("learn and clear", "the position is not that of the session"),
    PositionRule.AUTO_LEARN_MARKED: ("auto-learn", "a pattern is counted twice"),
    PositionRule.FOREIGN_MARKED: ("learn and clear", "is behind the record"),
    PositionRule.FOREIGN_RECORDED: ("learn and clear", "the position is not that of the session"),
    PositionRule.NEW_ID_MOVES: ("learn and clear", "is behind the record"),
    PositionRule.JOURNAL_RECORDED: ("learn and clear", "the position is not that of the session"),
    PositionRule.COMMIT_CHECKPOINT: ("learn and clear", "the position is not that of the session"),
}
"""Each rule of positions: the log in which its absence shows, and what is broken."""


def random_scenario(seed: int, calls: int) -> tuple[Call, ...]:
    """Return calls that a seed chooses. At most one key is used, and retried once or twice."""
    choose = random.Random(seed)
    chosen: list[Call] = []
    keyed = NO_CALL
    while len(chosen) < calls:
        caller = choose.choice("abc")
        kind = choose.choice([Kind.OBSERVE] * 4 + [Kind.LEARN] * 2 + [Kind.CLEAR, Kind.READ])
        if keyed != NO_CALL and choose.random() < 0.4:
            chosen.append(chosen[keyed]._replace(caller=f"retry {len(chosen)}", retries=keyed))
            continue
        key = keyed == NO_CALL and kind in (Kind.OBSERVE, Kind.LEARN) and choose.random() < 0.4
        if key:
            keyed = len(chosen)
        chosen.append(Call(caller, kind, key))
    if Kind.CLEAR in {call.kind for call in chosen}:  # a read cannot tell what was cleared
        chosen = [
            call._replace(kind=Kind.OBSERVE) if call.kind is Kind.READ else call for call in chosen
        ]
    return tuple(chosen)
