"""Keeping registrations true: whatever the agent lost or has otherwise is put back.

The agent is looked at every second, which costs it two small local answers; it is the only way to
see a check that was removed, and it bounds how late a restarted agent is noticed. It may be away
for hours: then it is asked some five times a second, with jitter, and told of once.

Instances that carry our owner's mark, are not wanted, and are critical, were left behind by an
earlier run that crashed: they are taken out. Nobody else's ever are, nor one that is well: another
registrar with our name may look after it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulCalls, ask
from kato_consul._consul.snapshot_decoder import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from kato_consul._flow import AwaitChange, Flow, Random
from kato_consul._registration.events import Event, Say
from kato_consul._registration.instance_info import differences
from kato_consul._registration.registrar_state import OWNER, Tending
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.models import Health, Instance

LOOK_AGAIN = 1.0
"""Seconds between looks at the agent."""

Checks = Mapping[str, Mapping[str, Any]]


def keep(tending: Tending, calls: ConsulCalls, *, random: Random, say: Say) -> Flow[None]:
    """Flow: keep all that are tended in the agent, until the registrar ends."""
    trouble = ""
    compared: dict[str, object] = {}
    pauses = full_jitter(CONSUL_WAIT, random)
    while not tending.over:
        seen = tending.wake.current
        try:
            if (yield from _look(tending, calls, say)):
                yield from compare(tending, calls, compared, say)
        except ConsulError as error:
            # Whatever it is, it may pass: a token that is not there yet, a restart. Said once.
            if str(error) != trouble:
                say(Event.CONSUL_TROUBLE, "consul", why=str(error))
            trouble = str(error)
            away = isinstance(error, ConsulUnreachable | ConsulUnavailable)
            pause = next(pauses) + (error.retry_after or 0.0) if away else LOOK_AGAIN
        else:
            if trouble:
                say(Event.CONSUL_BACK, "consul")
            trouble = ""
            pauses = full_jitter(CONSUL_WAIT, random)
            pause = LOOK_AGAIN
        yield AwaitChange(tending.wake, seen, pause)


def _look(tending: Tending, calls: ConsulCalls, say: Say) -> Flow[bool]:
    """One look, and all that it shows to be done; the first error is raised after the rest.

    True when nothing had to be done, and the catalog had the time to hear of what was done before.
    """
    there = yield from ask(calls.agent_services())
    checks = yield from ask(calls.agent_checks())
    first: ConsulError | None = None
    good = True
    for one in list(tending.tended.values()):
        entry = tending.entry(one)
        one.resting = in_maintenance(checks, entry.id)
        if tending.awaited(one) or one.gone:
            continue
        if entry.stands(there.get(entry.id), ids_of(checks, entry.id)):
            one.registered = True
            continue
        good = False
        try:
            # One that is in maintenance mode stays there.
            yield from ask(calls.register(entry, replace_checks=not one.resting))
        except ConsulError as error:
            first = first or error
        else:
            if not one.registered:
                say(Event.REGISTERED, entry.id)
            elif not there.get(entry.id):
                say(Event.PUT_BACK, entry.id, lost="is gone from")
            elif not entry.stands(there[entry.id], ids_of(checks, entry.id), but_for=one.learned):
                say(Event.PUT_BACK, entry.id, lost="was changed in")
            one.registered = True
            one.verdict.wake()  # reported at once
    tending.leaving = [one for one in tending.leaving if one in there]
    for service_id in _to_take_out(tending, there, checks):
        try:
            yield from ask(calls.deregister(service_id))
        except ConsulError as error:
            first = first or error
        else:
            say(Event.DEREGISTERED if service_id in tending.leaving else Event.PRUNED, service_id)
    if first is not None:
        raise first
    return good


def in_maintenance(checks: Checks, service_id: str) -> bool:
    """Was the instance itself put into maintenance mode?"""
    return f"{SERVICE_MAINTENANCE}:{service_id}" in checks


def ids_of(checks: Checks, service_id: str) -> set[str]:
    """The ids of the checks of an instance."""
    return {name for name, check in checks.items() if check.get("ServiceID") == service_id}


def _to_take_out(
    tending: Tending, there: Mapping[str, Mapping[str, Any]], checks: Checks
) -> Iterator[str]:
    for service_id, service in there.items():
        ours = bool(tending.owner) and (service.get("Meta") or {}).get(OWNER) == tending.owner
        if service_id in tending.tended:
            continue
        if service_id in tending.leaving or (ours and _is_critical(checks, service_id)):
            yield service_id


def _is_critical(checks: Checks, service_id: str) -> bool:
    return any(
        check.get("Status") == Health.CRITICAL.value
        for name, check in checks.items()
        if check.get("ServiceID") == service_id and not name.startswith(_MAINTENANCE)
    )


_MAINTENANCE = (NODE_MAINTENANCE, SERVICE_MAINTENANCE)


def compare(
    tending: Tending, calls: ConsulCalls, compared: dict[str, object], say: Say
) -> Flow[None]:
    """Flow: tell, once each time that something new was learned, who in the pool differs.

    ``compared`` keeps what was told of already.
    """
    for one in list(tending.tended.values()):
        mine = one.definition
        if not one.learned or compared.get(mine.id) == one.learned:
            continue
        pool = yield from ask(calls.health(mine.name))
        compared[mine.id] = one.learned
        me = Instance(mine.id, mine.name, mine.address, mine.port, meta=one.learned)
        others = [one for one in pool.instances if one.id != mine.id]
        for name, other in differences(me, others):
            say(
                Event.POOL_DIFFERS,
                mine.id,
                what=name,
                mine=me.meta[name],
                theirs=other.meta[name],
                other=other.uid,
            )
