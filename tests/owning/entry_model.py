"""The entry's part of the model: what a process writes into the directory."""

from collections.abc import Iterator

from tests.owning.owner_model import OwnerModel, Step, deleted
from tests.owning.rules import Rule
from tests.owning.world import (
    ANSWERED,
    BY_MARK,
    EMPTY,
    FREE,
    NO_CALL,
    NO_KEY,
    UNKNOWABLE,
    Entry,
    Kind,
    LateWrite,
    Mark,
    Owner,
    Phase,
    Session,
    Status,
    World,
)


class EntryModel(OwnerModel):
    """Processes that write the entry of a session."""

    def _entry_steps(self, w: World, p: int) -> Iterator[Step]:
        o = w.owners[p]
        assert o.held is not None
        if not w.has_lease(p):
            yield 0, ("finds its lease lost", p, o.call), self._queue(w, p)
        if o.unwritten is not None:
            if self._accepts(w.entry, o.held):
                done = self._written(w._replace(entry=o.unwritten), p)
            elif w.entry == o.unwritten:
                done = self._written(w, p)
            else:
                done = self._queue(w, p)
            yield 0, ("writes the entry again", p, o.call), done
            return
        entry, store = self._target(w, p)
        if o.phase is Phase.SWITCH and not self.has(Rule.SWITCH_BY_CAS):
            matches = True
        else:
            matches = self._accepts(w.entry, o.held)
        store_if_lost = store
        if o.phase is not Phase.RECORD and not self.has(Rule.OLD_ID_KEPT):
            store_if_lost = deleted(store, o.held.id)
        label = f"writes the entry ({o.phase.name.lower()})"
        if not matches:
            yield 0, (f"{label}, and is refused", p, o.call), self._queue(w, p)
            return
        yield 0, (label, p, o.call), self._written(w._replace(entry=entry, store=store), p)
        late = (*w.late_writes, LateWrite(o.held, entry))
        lost = w._replace(late_writes=late, store=store_if_lost)
        yield (
            1,
            (f"{label}, and gets no answer", p, o.call),
            lost.with_owner(p, o._replace(unwritten=entry)),
        )

    def _target(self, w: World, p: int) -> tuple[Entry, tuple[Session, ...]]:
        """Return the entry that a process writes next, and the store with the id that it opened."""
        o = w.owners[p]
        held = o.held
        assert held is not None
        entry = held._replace(revision=held.revision + 1)
        if o.phase is Phase.RECORD:
            key, mark = self._recorded(o)
            return entry._replace(key=key, mark=mark), w.store
        if o.phase is Phase.SWITCH:
            assert o.cut is not None
            key, mark = self._settled_by(o.cut, held)
            entry = entry._replace(key=key, mark=mark, cuts=(*held.cuts, (held.epoch, o.cut)))
            if not self.has(Rule.FENCE_TAKEOVER):
                return entry._replace(journal=o.cut), w.store
            session = o.cut.replayed()
        else:
            # A clear is a new id, without the memory.
            clears = self.calls[o.pending].kind is Kind.CLEAR
            session = EMPTY if clears else o.journal.replayed()
            entry = entry._replace(key=self._key_left(o, session), mark=self._mark_left(o, session))
        return entry._replace(id=len(w.store), journal=session), (*w.store, session)

    def _settled_by(self, cut: Session, held: Entry) -> tuple[int, Mark | None]:
        """Return key and mark as a cut settles them."""
        key, mark = held.key, held.mark
        if mark is not None:
            unchanged = mark.session.memory == cut.memory
            if not mark.doubt:
                unchanged = mark.session == cut
            if key == BY_MARK:
                key = UNKNOWABLE if unchanged else ANSWERED
            mark = Mark(True, cut.replayed()) if unchanged else None
            if not self.has(Rule.MARK_KEPT):
                mark = None
        if key > 0 and self.has(Rule.KEY_SETTLED):
            key = ANSWERED if cut.counter >= key else NO_KEY
        return key, mark

    def _key_left(self, o: Owner, session: Session) -> int:
        """Return the key in the entry after a fence: of the pending write, which is not applied."""
        pending = self.calls[o.pending]
        if not pending.key:
            return o.key
        if pending.kind is Kind.LEARN:
            return UNKNOWABLE
        return session.counter + 1 if o.pending == o.call else NO_KEY

    def _mark_left(self, o: Owner, session: Session) -> Mark | None:
        if self.calls[o.pending].kind is Kind.LEARN and self.has(Rule.MARK_KEPT):
            return Mark(True, session)
        return None if o.mark is None else Mark(True, session)

    def _written(self, w: World, p: int) -> World:
        """A process knows that the entry is as it wrote it."""
        o, entry = w.owners[p], w.entry
        w = w._replace(entry=entry._replace(journal=None))
        o = o._replace(held=w.entry, unwritten=None)
        if o.phase is Phase.SWITCH:
            return self._owns(w, p, o, w.entry, entry.journal)
        if o.phase is Phase.FENCE:
            assert entry.journal is not None
            resend = o.pending == o.call
            o = o._replace(
                id=entry.id, journal=entry.journal, mark=entry.mark, pending=NO_CALL,
                key=entry.key if entry.key <= 0 else NO_KEY,
            )  # fmt: skip
            if resend and self.calls[o.call].kind is Kind.CLEAR:
                w = w.with_cleared(w.owners[p].journal)
                return self._finish(w.with_owner(p, o), p, Status.ACKNOWLEDGED)
            if not resend:
                return self._own(w.with_owner(p, o), p)
        w = w.with_owner(p, o)
        if not w.has_lease(p):
            return self._queue(w, p)
        return w.with_owner(p, o._replace(phase=Phase.READY))

    def _give_up_session(self, w: World, p: int) -> Iterator[Step]:
        """Another process waits: release the entry, or only the lease if a write is pending."""
        o = w.owners[p]
        settled = o.pending == NO_CALL or not self.has(Rule.RELEASE_SETTLED)
        if not (o.leased and o.complete and settled):
            free = w._replace(holder=FREE).with_owner(p, o._replace(leased=False))
            yield 0, ("gives up the lease", p, -1), free
            return
        held = o.held
        assert held is not None
        entry = held._replace(
            revision=held.revision + 1, released=True, journal=o.journal, key=o.key, mark=o.mark
        )
        o = o._replace(leased=False)
        if not self._accepts(w.entry, held):
            yield 0, ("releases, and is refused", p, -1), w.with_owner(p, o)
            return
        released = w._replace(entry=entry, holder=FREE)
        yield 0, ("releases", p, -1), released.with_owner(p, o._replace(held=entry))
        late = w._replace(late_writes=(*w.late_writes, LateWrite(held, entry)))
        yield 1, ("releases, and gets no answer", p, -1), late.with_owner(p, o)

    def _accepts(self, current: Entry, expected: Entry) -> bool:
        """Return whether the directory accepts a write that expects an entry."""
        if current.owner != expected.owner:
            return False
        if not self.has(Rule.CAS_EPOCH):
            return True
        if current.epoch != expected.epoch:
            return False
        return current.revision == expected.revision or not self.has(Rule.CAS_REVISION)
