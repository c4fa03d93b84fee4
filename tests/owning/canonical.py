"""The canonical form of a world: what can no longer matter is dropped, ids and epochs are renamed.

Worlds that differ only in that have the same future, so the search visits one of them. While a rule
is left out, more can matter: then nothing of a process' memory is dropped.
"""

from tests.owning.world import EMPTY, NO_CALL, NO_KEY, Entry, Kind, LateWrite, Owner, Phase, World


def canonical(w: World, *, whole: bool) -> World:
    """Return the canonical form. ``whole``: the model keeps every rule."""
    if whole:
        w = _forget(w)
    return _rename_epochs(_rename_ids(w))


def _forget(w: World) -> World:
    entry = w.entry
    owners = (_needed(w, 0), _needed(w, 1))
    suspended = [o.pending_epoch for o in owners if o.pending != NO_CALL]
    suspended += [o.held.epoch for o in owners if o.phase is Phase.READY and o.held is not None]
    cuts = []
    for epoch in suspended:
        first = next((cut for cut in entry.cuts if cut[0] > epoch), None)
        if first is not None and first not in cuts:
            cuts.append(first)
    late = tuple(
        one
        for one in w.late_writes
        if (one.expected.owner, one.expected.epoch, one.expected.revision)
        == (entry.owner, entry.epoch, entry.revision)
    )
    kept = tuple(sorted(cuts))

    def shorter(one: Entry | None) -> Entry | None:
        return one if one is None else one._replace(cuts=kept)

    if kept != entry.cuts:
        w = w._replace(entry=entry._replace(cuts=kept))
        owners = (
            owners[0]._replace(held=shorter(owners[0].held)),
            owners[1]._replace(held=shorter(owners[1].held)),
        )
    return w._replace(owners=owners, late_writes=late)


def _needed(w: World, p: int) -> Owner:
    """Return what a process may still use of its memory."""
    o, entry = w.owners[p], w.entry
    if o.phase is Phase.IDLE and o.leased and w.holder != p:
        o = o._replace(leased=False)
    if o.held is None or (entry.owner, entry.epoch) == (p, o.held.epoch):
        return o
    sending = o.phase in (Phase.READY, Phase.WAITING)
    if o.phase in (Phase.IDLE, Phase.QUEUED):
        held, complete = None, False
    else:
        held, complete = o.held, o.complete
    return o._replace(
        held=held,
        complete=complete,
        id=o.id if sending else -1,
        journal=o.journal if o.pending != NO_CALL or sending else EMPTY,
        key=NO_KEY,
        mark=None,
    )


def _rename_ids(w: World) -> World:
    used = {w.entry.id}
    for o in w.owners:
        used.add(o.id)
        for entry in (o.held, o.unwritten):
            if entry is not None:
                used.add(entry.id)
    for late in w.late_writes:
        used.update((late.entry.id, late.expected.id))
    # In a session that nothing reads any more, a learn can still count a pattern.
    used.update(r.id for r in w.requests if r.kind is Kind.LEARN and r.read is None)
    requests = tuple(r for r in w.requests if r.id in used)
    used.discard(-1)
    if requests != w.requests:
        w = w._replace(requests=requests)
    if len(used) == len(w.store):
        return w
    ordered = sorted(used)
    new = {old: index for index, old in enumerate(ordered)}
    new[-1] = -1

    def renamed(entry: Entry) -> Entry:
        return entry._replace(id=new[entry.id])

    def owner(o: Owner) -> Owner:
        return o._replace(
            id=new[o.id],
            held=o.held and renamed(o.held),
            unwritten=o.unwritten and renamed(o.unwritten),
        )

    return w._replace(
        store=tuple(w.store[old] for old in ordered),
        entry=renamed(w.entry),
        owners=(owner(w.owners[0]), owner(w.owners[1])),
        requests=tuple(r._replace(id=new[r.id]) for r in w.requests),
        late_writes=tuple(
            LateWrite(renamed(late.expected), renamed(late.entry)) for late in w.late_writes
        ),
    )


def _rename_epochs(w: World) -> World:
    used = {0, w.entry.epoch}
    entries = [w.entry]
    for o in w.owners:
        used.add(o.pending_epoch)
        entries.extend(entry for entry in (o.held, o.unwritten) if entry is not None)
    for late in w.late_writes:
        entries.extend(late)
    for entry in entries:
        used.add(entry.epoch)
        used.update(epoch for epoch, _ in entry.cuts)
    if max(used) < len(used):
        return w
    new = {old: index for index, old in enumerate(sorted(used))}

    def renamed(entry: Entry) -> Entry:
        cuts = tuple((new[epoch], cut) for epoch, cut in entry.cuts)
        return entry._replace(epoch=new[entry.epoch], cuts=cuts)

    def owner(o: Owner) -> Owner:
        return o._replace(
            pending_epoch=new[o.pending_epoch],
            held=o.held and renamed(o.held),
            unwritten=o.unwritten and renamed(o.unwritten),
        )

    return w._replace(
        entry=renamed(w.entry),
        owners=(owner(w.owners[0]), owner(w.owners[1])),
        late_writes=tuple(
            LateWrite(renamed(late.expected), renamed(late.entry)) for late in w.late_writes
        ),
    )
