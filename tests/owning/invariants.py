"""What has to hold in every world that the protocol can reach."""

from collections.abc import Sequence

from tests.owning.world import (
    NO_CALL,
    Call,
    Kind,
    Phase,
    Status,
    World,
)


def broken_promise(w: World, calls: Sequence[Call]) -> str | None:
    """Return the promise that a world breaks, or None."""
    memory = w.store[w.entry.id].memory
    learned: set[int] = set()
    for _, pattern in w.counted:
        learned.update(pattern)
    if len(set(memory)) != len(memory) or w.cleared.intersection(memory):
        return "an observation is applied twice"
    return (
        _broken_by_a_call(w, calls, set(memory), learned)
        or _broken_by_a_learn(w, calls, set(memory))
        or _broken_order(memory, calls)
        or _broken_ownership(w, calls)
    )


def _broken_by_a_call(
    w: World, calls: Sequence[Call], memory: set[int], learned: set[int]
) -> str | None:
    for number, status in enumerate(w.statuses):
        call = calls[number]
        if call.kind is not Kind.OBSERVE:
            continue
        value = number if call.retries == NO_CALL else call.retries
        applied = value in memory or value in learned
        cleared = any(
            one.kind is Kind.CLEAR and w.statuses[other] not in (Status.NEW, Status.NOT_APPLIED)
            for other, one in enumerate(calls)
        )
        if status is Status.ACKNOWLEDGED and not applied and not cleared:
            return f"the acknowledged call {number} is lost"
        if status is Status.NOT_APPLIED and applied:
            attempts = [
                w.statuses[other]
                for other, one in enumerate(calls)
                if value in (other, one.retries)
            ]
            if all(one in (Status.NEW, Status.NOT_APPLIED) for one in attempts):
                return f"call {number} is applied, and its caller was told that it is not"
    return None


def _broken_by_a_learn(w: World, calls: Sequence[Call], memory: set[int]) -> str | None:
    counted = [number for number, _ in w.counted]
    if len(set(counted)) != len(counted):
        return "a learn is applied twice"
    patterns = [pattern for _, pattern in w.counted]
    if len(set(patterns)) != len(patterns):
        return "one memory is learned twice"
    for number, status in enumerate(w.statuses):
        call = calls[number]
        if call.kind is not Kind.LEARN or status not in (Status.ACKNOWLEDGED, Status.NOT_APPLIED):
            continue
        value = number if call.retries == NO_CALL else call.retries
        if status is Status.NOT_APPLIED:
            if not call.key and value in counted:
                return f"the learn {number} is applied, and its caller was told that it is not"
        elif value not in counted:
            return f"the acknowledged learn {number} is lost"
        elif memory.intersection(dict(w.counted)[value]):
            return f"the memory that call {number} learned is still there"
    return None


def _broken_order(memory: Sequence[int], calls: Sequence[Call]) -> str | None:
    last: dict[str, int] = {}
    for number in memory:
        caller = calls[number].caller
        if last.get(caller, NO_CALL) > number:
            return f"the observations of caller {caller} are in another order"
        last[caller] = number
    return None


def _broken_ownership(w: World, calls: Sequence[Call]) -> str | None:
    """The memory of an owner is KATO's, and no request of another process reaches its session."""
    entry = w.entry
    for p, o in enumerate(w.owners):
        if not w.has_lease(p) or not o.complete or o.phase in (Phase.QUEUED, Phase.TAKEOVER):
            continue
        if entry.owner != p or o.held is None or o.held.epoch != entry.epoch:
            return "a process has a valid lease, and another epoch has begun"
        if o.unwritten is None and o.id != entry.id:
            return "an owner uses an id that is not the entry's"
        if any(r.id == entry.id and r.process != p for r in w.requests):
            return "a request of an earlier owner can reach the id of the current one"
        session = w.store[o.id]
        if session == o.journal:
            continue
        call = calls[o.pending]
        value = o.pending if call.retries == NO_CALL else call.retries
        if o.pending == NO_CALL or session != o.journal.after(value, call.kind):
            return "KATO's session is not what its owner knows of it"
    return None
