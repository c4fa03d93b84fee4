"""The owner's part of the model: what a process does for its call."""

from collections.abc import Iterable, Iterator, Sequence

from tests.owning.rules import Rule
from tests.owning.search import Label, ViolationError
from tests.owning.world import (
    ANSWERED,
    BY_MARK,
    EMPTY,
    NO_CALL,
    UNKNOWABLE,
    Call,
    Entry,
    Kind,
    Mark,
    Owner,
    Phase,
    Request,
    Session,
    Status,
    World,
)

Step = tuple[int, Label, World]
"""The faults that a step costs, 0 or 1; its label; the world after it."""

FINISHED = frozenset({Status.ACKNOWLEDGED, Status.UNKNOWN, Status.NOT_APPLIED})


class OwnerModel:
    """Processes that own a session, without the rules of ``without``."""

    def __init__(self, calls: Sequence[Call], without: frozenset[Rule] = frozenset()) -> None:
        self.calls = tuple(calls)
        self.without = without

    def has(self, rule: Rule) -> bool:
        """Return whether the model keeps a rule."""
        return rule not in self.without

    def _startable(self, w: World, p: int) -> Iterator[int]:
        """Yield the calls that can start in a process. The first one starts in process 0."""
        if p == 1 and not any(w.statuses):
            return
        for number, call in enumerate(self.calls):
            if w.statuses[number] is not Status.NEW:
                continue
            if call.retries != NO_CALL:
                if w.statuses[call.retries] is not Status.NEW:
                    yield number
            elif all(
                w.statuses[earlier] in FINISHED
                for earlier in range(number)
                if self.calls[earlier].caller == call.caller
            ):
                yield number

    def _start(self, w: World, p: int, call: int) -> World:
        o = w.owners[p]._replace(call=call)
        w = w.with_status(call, Status.ACTIVE).with_owner(p, o)
        if not w.has_lease(p):
            return self._queue(w, p)
        if not o.complete:
            return w.with_owner(p, o._replace(phase=Phase.TAKEOVER))
        return self._own(w, p)

    def _queue(self, w: World, p: int) -> World:
        w = self._abandon(w, p)
        o = w.owners[p]._replace(phase=Phase.QUEUED, leased=False, cut=None, unwritten=None)
        return w.with_owner(p, o)

    def _abandon(self, w: World, p: int) -> World:
        """A process does not go on with a write of the entry that has no outcome."""
        unwritten = w.owners[p].unwritten
        if self.has(Rule.NEW_ID_KEPT) or unwritten is None:
            return w
        return w._replace(store=deleted(w.store, unwritten.id))

    def _acquired(self, before: Entry, p: int) -> Entry:
        """Return the entry as a process acquires it."""
        entry = before._replace(owner=p, released=False, journal=None)
        if before.owner == p and not self.has(Rule.ACQUISITION_IS_AN_EPOCH):
            return entry
        return entry._replace(epoch=before.epoch + 1, revision=0)

    def _acquire(self, w: World, p: int) -> World:
        o, before = w.owners[p], w.entry
        entry = self._acquired(before, p)
        if before.released and not self.has(Rule.ACQUISITION_CLEARS_RELEASED):
            entry = entry._replace(released=True, journal=before.journal)
        w = w._replace(entry=entry, holder=p)
        if before.released:
            return self._owns(w, p, o._replace(leased=True), entry, before.journal)
        if self._may_resume(o, before, p):
            o = o._replace(leased=True, complete=True, held=entry)
            return self._own(w.with_owner(p, o), p)
        o = o._replace(phase=Phase.TAKEOVER, leased=True, complete=False, held=entry)
        return w.with_owner(p, o)

    def _may_resume(self, o: Owner, before: Entry, p: int) -> bool:
        if o.held is None or o.id < 0 or before.owner != p:
            return False
        if not self.has(Rule.RESUME_COMPLETE):
            return True
        if not o.complete or o.held.epoch != before.epoch:
            return False
        return o.held.revision == before.revision or not self.has(Rule.RESUME_REVISION)

    def _owns(self, w: World, p: int, o: Owner, entry: Entry, journal: Session | None) -> World:
        """A process has become owner by what the entry has: its own pending write is settled."""
        assert journal is not None
        applied = self._in_cut(o, entry)
        pending, call, before = o.pending, o.call, o.journal
        o = o._replace(
            complete=True, held=entry, id=entry.id, journal=journal, key=entry.key,
            mark=entry.mark if entry.mark and entry.mark.doubt else None,
            pending=NO_CALL, cut=None, unwritten=None,
        )  # fmt: skip
        w = w.with_owner(p, o)
        if pending != NO_CALL and pending == call:
            if applied:
                if self.calls[call].kind is Kind.CLEAR:
                    w = w.with_cleared(before)
                return self._finish(w, p, Status.ACKNOWLEDGED)
            if applied is None:
                return self._finish(w, p, Status.UNKNOWN)
        return self._own(w, p)

    def _in_cut(self, o: Owner, entry: Entry) -> bool | None:
        """Return whether the cut has the pending write of a lost lease; None: unknown."""
        if o.pending == NO_CALL:
            return None
        cuts = [cut for epoch, cut in entry.cuts if epoch > o.pending_epoch]
        if not cuts:
            return None
        cut = cuts[0 if self.has(Rule.FIRST_CUT) else -1]
        kind = self.calls[o.pending].kind
        if not self.has(Rule.CUT_DECIDES):
            return False
        if cut == o.journal.after(self._value(o.pending), kind):
            return True
        # The cut may be of an id that this process opened itself, which counts anew.
        if cut.memory != o.journal.memory and not self.without:
            raise ViolationError("a cut has neither the journal nor the journal and the write")
        return None if kind is Kind.LEARN and self.has(Rule.LEARN_LOST_LEASE) else False

    def _own(self, w: World, p: int) -> World:
        """Return what an owner does for its call: settle, answer, record, or send."""
        o = w.owners[p]
        if not w.has_lease(p):
            return self._queue(w, p)
        if o.pending != NO_CALL:
            return w.with_owner(p, o._replace(phase=Phase.SETTLE))
        call, journal, held = self.calls[o.call], o.journal, o.held
        assert held is not None
        if call.key and self.has(Rule.KEY_LOOKUP):
            if o.key == ANSWERED:
                return self._finish(w, p, Status.ACKNOWLEDGED)
            if o.key == UNKNOWABLE:
                return self._finish(w, p, Status.UNKNOWN)
        if call.kind is Kind.LEARN:
            if not journal.memory:  # there is nothing to learn
                return self._finish(w, p, Status.NOT_APPLIED)
            doubt = o.mark is not None and o.mark.session.memory == journal.memory
            if doubt and self.has(Rule.DOUBT):
                return self._finish(w, p, Status.UNKNOWN)
        key, mark = self._recorded(o)
        records = (key, mark) != (held.key, held.mark) and call.kind is not Kind.READ
        return w.with_owner(p, o._replace(phase=Phase.RECORD if records else Phase.READY))

    def _recorded(self, o: Owner) -> tuple[int, Mark | None]:
        """Return the key and the mark that have to be in the entry before the call is sent."""
        call, journal, held = self.calls[o.call], o.journal, o.held
        assert held is not None
        key, mark = held.key, held.mark
        if self.has(Rule.REFUSAL_REWRITES):
            if mark is not None and not mark.doubt and mark.session == journal:
                key, mark = o.key, o.mark
            if key > journal.counter:
                key = o.key
        if call.kind is Kind.CLEAR and key > 0 and self.has(Rule.CLEAR_SETTLES_KEYS):
            key = o.key
        if call.kind is Kind.LEARN and self.has(Rule.MARK):
            mark = Mark(False, journal)
        if call.key and self.has(Rule.KEY):
            key = BY_MARK if call.kind is Kind.LEARN else journal.counter + 1
        return key, mark

    def _send(self, w: World, p: int) -> World:
        o = w.owners[p]
        held = o.held
        assert held is not None
        if self.calls[o.call].kind is Kind.READ:
            if not w.has_lease(p) and self.has(Rule.READ_UNDER_LEASE):
                return self._queue(w, p)
            known = set(w.store[o.id].memory).union(*(memory for _, memory in w.counted))
            for number, status in enumerate(w.statuses):
                observed = self.calls[number].kind is Kind.OBSERVE
                if observed and status is Status.ACKNOWLEDGED and self._value(number) not in known:
                    raise ViolationError(f"a read lacks the acknowledged call {number}")
            return self._finish(w, p, Status.ACKNOWLEDGED)
        o = o._replace(phase=Phase.WAITING, pending=o.call, pending_epoch=held.epoch)
        request = Request(p, o.id, self._value(o.call), self.calls[o.call].kind, None)
        return w.with_owner(p, o)._replace(requests=in_order((*w.requests, request)))

    def _settle(self, w: World, p: int) -> World:
        o = w.owners[p]
        kind = self.calls[o.pending].kind
        after = o.journal.after(self._value(o.pending), kind)
        if w.store[o.id] == after and kind is not Kind.CLEAR:
            return self._commit(w, p)
        if kind is Kind.LEARN and o.pending == o.call and self.has(Rule.LEARN_UNSEEN):
            return self._finish(w, p, Status.UNKNOWN)
        if not self.has(Rule.FENCE_UNKNOWN_WRITE):
            o = o._replace(pending=NO_CALL)
            return self._own(w.with_owner(p, o), p)
        return w.with_owner(p, o._replace(phase=Phase.FENCE))

    def _commit(self, w: World, p: int) -> World:
        """The pending write is applied: it goes into the journal, and its call is answered."""
        o = w.owners[p]
        done = self.calls[o.pending]
        if done.kind is Kind.CLEAR:
            w = w.with_cleared(o.journal)
        w = w.with_owner(
            p,
            o._replace(
                journal=o.journal.after(self._value(o.pending), done.kind),
                key=ANSWERED if done.key else o.key,
                mark=None if done.kind is Kind.LEARN else o.mark,
                pending=NO_CALL,
            ),
        )
        if o.pending == o.call:
            return self._finish(w, p, Status.ACKNOWLEDGED)
        return self._own(w, p)

    def _value(self, call: int) -> int:
        """Return the call whose observation this is: a retry observes the same."""
        return call if self.calls[call].retries == NO_CALL else self.calls[call].retries

    def _finish(self, w: World, p: int, status: Status) -> World:
        o = w.owners[p]
        w = w.with_status(o.call, status)
        return w.with_owner(p, o._replace(phase=Phase.IDLE, call=NO_CALL))

    def _give_up(self, w: World, p: int) -> World:
        """The caller's deadline is over, or it is cancelled: what is pending stays pending."""
        o = w.owners[p]
        pending = o.pending == o.call
        w = self._finish(w, p, Status.UNKNOWN if pending else Status.NOT_APPLIED)
        w = self._abandon(w, p)
        o = w.owners[p]._replace(cut=None, unwritten=None)
        if w.owners[p].unwritten is not None and self.has(Rule.UNKNOWN_ENTRY_WRITE):
            o = o._replace(leased=False)
        return w.with_owner(p, o)


def in_order(requests: Iterable[Request]) -> tuple[Request, ...]:
    return tuple(sorted(requests, key=lambda r: (r.id, r.call, r.process, r.read or ())))


def deleted(store: tuple[Session, ...], id_: int) -> tuple[Session, ...]:
    """Return the store after a session was deleted."""
    return (*store[:id_], EMPTY, *store[id_ + 1 :])
