"""A model of the protocol: what each process, KATO and the directory can do next.

A step is one that nothing can come between: one request to the directory or to KATO's store, or a
check of the clock. A fault costs one of a bounded number; all other steps are free.
"""

from collections.abc import Iterator

from tests.owning.canonical import canonical
from tests.owning.entry_model import EntryModel
from tests.owning.invariants import broken_promise
from tests.owning.owner_model import FINISHED, Step, in_order
from tests.owning.rules import Rule
from tests.owning.search import Label
from tests.owning.world import (
    DEAD,
    FREE,
    NO_CALL,
    Entry,
    Kind,
    LateWrite,
    Owner,
    Phase,
    Request,
    Session,
    Status,
    World,
    first_world,
)

WRITES_ENTRY = frozenset({Phase.SWITCH, Phase.FENCE, Phase.RECORD})


class Model(EntryModel):
    """Two processes, KATO and a directory."""

    def start(self) -> World:
        """Return the world before the first call."""
        return first_world(len(self.calls))

    def canonical(self, w: World) -> World:
        """Return the canonical form of a world."""
        return canonical(w, whole=not self.without)

    def broken_promise(self, w: World) -> str | None:
        """Return the promise that a world breaks, or None."""
        return broken_promise(w, self.calls)

    def is_finished(self, w: World) -> bool:
        """Return whether all calls have ended."""
        return all(status in FINISHED for status in w.statuses)

    def line(self, label: Label, w: World) -> str:
        """Return a line of a trace."""
        text, process, call = label
        name = {-1: "directory", DEAD: "a dead one"}.get(process, f"process {process}")
        what = text if call == NO_CALL else f"{text} (call {call})"
        entry = w.entry
        owner = "-" if entry.owner == DEAD else entry.owner
        sessions = " ".join(f"{index}={list(one.memory)}" for index, one in enumerate(w.store))
        return (
            f"{name:10} {what:54} epoch {entry.epoch} of {owner}, id {entry.id}; KATO {sessions}; "
            f"lease {'-' if w.holder == FREE else w.holder}"
        )

    def steps(self, w: World) -> Iterator[Step]:
        """Yield all that can happen next."""
        for p in (0, 1):
            yield from self._process_steps(w, p)
        for index, request in enumerate(w.requests):
            yield from self._kato_steps(w, index, request)
        for late in w.late_writes:
            yield (
                0,
                ("a late write of the entry arrives", late.entry.owner, -1),
                self._arrive(w, late),
            )
        if w.holder != FREE:
            yield 1, ("the lease ends", w.holder, -1), w._replace(holder=FREE)

    def _process_steps(self, w: World, p: int) -> Iterator[Step]:
        o = w.owners[p]
        call, phase = o.call, o.phase
        if phase is Phase.IDLE:
            for new in self._startable(w, p):
                yield 0, ("starts", p, new), self._start(w, p, new)
            aware = o.leased or self.has(Rule.UNKNOWN_LEASE_GIVEN_UP)
            if w.holder == p and w.owners[1 - p].phase is Phase.QUEUED and aware:
                yield from self._give_up_session(w, p)
        elif phase is Phase.QUEUED:
            if w.holder in (FREE, p):
                yield 0, ("acquires", p, call), self._acquire(w, p)
                lost = w._replace(entry=self._acquired(w.entry, p), holder=p)
                yield 1, ("acquires, and gets no answer", p, call), lost
        elif phase is Phase.TAKEOVER:
            if w.has_lease(p):
                assert o.held is not None
                yield 0, ("reads the cut", p, call), w.with_owner(p, self._read_cut(w, o))
            else:
                yield 0, ("finds its lease lost", p, call), self._queue(w, p)
        elif phase in WRITES_ENTRY:
            yield from self._entry_steps(w, p)
        elif phase is Phase.READY:
            yield 0, ("sends", p, call), self._send(w, p)
        elif not w.has_lease(p) and not (
            phase is Phase.SETTLE and not self.has(Rule.SETTLE_UNDER_LEASE)
        ):
            yield 0, ("finds its lease lost", p, call), self._queue(w, p)
        elif phase is Phase.SETTLE:
            yield 0, ("reads whether the pending write is applied", p, call), self._settle(w, p)
        else:
            settling = w.with_owner(p, o._replace(phase=Phase.SETTLE))
            yield 1, ("gets no answer", p, call), settling
        if call != NO_CALL:
            yield 1, ("gives up the call", p, call), self._give_up(w, p)
        if call != NO_CALL or w.holder == p:
            yield 1, ("crashes", p, call), self._crash(w, p)

    def _read_cut(self, w: World, o: Owner) -> Owner:
        assert o.held is not None
        session = w.store[o.held.id]
        if not self.has(Rule.CUT_CONSISTENT):  # counter and memory are two reads
            if o.cut is None:
                return o._replace(cut=Session(session.counter, ()))
            session = Session(o.cut.counter, session.memory)
        return o._replace(phase=Phase.SWITCH, cut=session)

    def _crash(self, w: World, p: int) -> World:
        """A process ends: its memory is lost, a new one with another nonce takes its place."""
        o = w.owners[p]
        if o.call != NO_CALL:
            w = w.with_status(o.call, Status.UNKNOWN)

        def dead(entry: Entry) -> Entry:
            return entry._replace(owner=DEAD) if entry.owner == p else entry

        return w.with_owner(p, Owner())._replace(
            entry=dead(w.entry),
            holder=FREE if w.holder == p else w.holder,
            requests=in_order(
                r._replace(process=DEAD) if r.process == p else r for r in w.requests
            ),
            late_writes=tuple(
                LateWrite(dead(late.expected), dead(late.entry)) for late in w.late_writes
            ),
        )

    def _arrive(self, w: World, late: LateWrite) -> World:
        rest = list(w.late_writes)
        rest.remove(late)
        w = w._replace(late_writes=tuple(rest))
        if not self._accepts(w.entry, late.expected):
            return w
        holder = FREE if late.entry.released and w.holder == late.entry.owner else w.holder
        return w._replace(entry=late.entry, holder=holder)

    def _kato_steps(self, w: World, index: int, request: Request) -> Iterator[Step]:
        p, kind = request.process, request.kind
        others = (*w.requests[:index], *w.requests[index + 1 :])
        if request.read is not None:
            session = request.read.after(request.call, kind)
            store = (*w.store[: request.id], session, *w.store[request.id + 1 :])
            written = w._replace(store=store, requests=others)
            label = ("KATO writes the session of", p, request.call)
            yield 0, label, self._answer(written, request, session)
            return
        session = w.store[request.id]
        if kind is not Kind.LEARN or session.memory:
            read = w._replace(requests=in_order((*others, request._replace(read=session))))
            if kind is Kind.LEARN:
                read = read._replace(
                    counted=tuple(sorted((*w.counted, (request.call, session.memory))))
                )
            yield 0, ("KATO reads the session for", p, request.call), read
        else:
            yield 0, ("KATO has nothing to learn for", p, request.call), w._replace(requests=others)
        if self._waits(w, request):
            refused = w._replace(requests=others)
            o = refused.owners[p]._replace(pending=NO_CALL)
            refused = self._finish(refused.with_owner(p, o), p, Status.NOT_APPLIED)
            yield 1, ("KATO refuses", p, request.call), refused

    def _waits(self, w: World, request: Request) -> bool:
        if request.process == DEAD:
            return False
        o = w.owners[request.process]
        return (
            o.phase is Phase.WAITING
            and o.id == request.id
            and self._value(o.pending) == request.call
        )

    def _answer(self, w: World, request: Request, session: Session) -> World:
        if not self._waits(w, request):
            return w
        p = request.process
        o = w.owners[p]
        if not w.has_lease(p) and self.has(Rule.ANSWER_UNDER_LEASE):
            return self._queue(w, p)
        if session == o.journal.after(request.call, request.kind):
            return self._commit(w, p)
        return w.with_owner(p, o._replace(phase=Phase.SETTLE))
