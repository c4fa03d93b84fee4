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
from kato_consul._consul.api import ConsulApi, execute
from kato_consul._consul.snapshot_decoder import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from kato_consul._flow import Flow, Random, WaitForChange
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import differences
from kato_consul._registration.registrar_state import OWNER, RegistrarState
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.models import Health, Instance

INTERVAL = 1.0
"""Seconds between looks at the agent."""

Checks = Mapping[str, Mapping[str, Any]]


def reconcile_registrations(
    state: RegistrarState, api: ConsulApi, *, random: Random, on_event: EventSink
) -> Flow[None]:
    """Flow: keep all that are tended in the agent, until the registrar ends."""
    trouble = ""
    compared: dict[str, object] = {}
    pauses = full_jitter(CONSUL_WAIT, random)
    while not state.stopped:
        seen = state.reconcile_requests.current
        try:
            if (yield from _reconcile_once(state, api, on_event)):
                yield from compare_with_pool(state, api, compared, on_event)
        except ConsulError as error:
            # Whatever it is, it may pass: a token that is not there yet, a restart. Said once.
            if str(error) != trouble:
                on_event(RegistrarEvent.CONSUL_ERROR, "consul", why=str(error))
            trouble = str(error)
            away = isinstance(error, ConsulUnreachable | ConsulUnavailable)
            pause = next(pauses) + (error.retry_after or 0.0) if away else INTERVAL
        else:
            if trouble:
                on_event(RegistrarEvent.CONSUL_RECOVERED, "consul")
            trouble = ""
            pauses = full_jitter(CONSUL_WAIT, random)
            pause = INTERVAL
        yield WaitForChange(state.reconcile_requests, seen, pause)


def _reconcile_once(state: RegistrarState, api: ConsulApi, on_event: EventSink) -> Flow[bool]:
    """One look, and all that it shows to be done; the first error is raised after the rest.

    True when nothing had to be done, and the catalog had the time to hear of what was done before.
    """
    there = yield from execute(api.agent_services())
    checks = yield from execute(api.agent_checks())
    first: ConsulError | None = None
    good = True
    for one in list(state.instances.values()):
        entry = state.payload(one)
        one.in_maintenance = in_maintenance(checks, entry.id)
        if state.waits_for_health(one) or one.removed:
            continue
        if entry.matches(there.get(entry.id), check_ids(checks, entry.id)):
            one.registered = True
            continue
        good = False
        try:
            # One that is in maintenance mode stays there.
            yield from execute(api.register(entry, replace_checks=not one.in_maintenance))
        except ConsulError as error:
            first = first or error
        else:
            if not one.registered:
                on_event(RegistrarEvent.REGISTERED, entry.id)
            elif not there.get(entry.id):
                on_event(RegistrarEvent.RE_REGISTERED, entry.id, lost="is gone from")
            elif not entry.matches(there[entry.id], check_ids(checks, entry.id), but_for=one.info):
                on_event(RegistrarEvent.RE_REGISTERED, entry.id, lost="was changed in")
            one.registered = True
            one.health.notify()  # reported at once
    state.to_deregister = [one for one in state.to_deregister if one in there]
    for service_id in _to_deregister(state, there, checks):
        try:
            yield from execute(api.deregister(service_id))
        except ConsulError as error:
            first = first or error
        else:
            on_event(
                RegistrarEvent.DEREGISTERED
                if service_id in state.to_deregister
                else RegistrarEvent.PRUNED,
                service_id,
            )
    if first is not None:
        raise first
    return good


def in_maintenance(checks: Checks, service_id: str) -> bool:
    """Was the instance itself put into maintenance mode?"""
    return f"{SERVICE_MAINTENANCE}:{service_id}" in checks


def check_ids(checks: Checks, service_id: str) -> set[str]:
    """The ids of the checks of an instance."""
    return {name for name, check in checks.items() if check.get("ServiceID") == service_id}


def _to_deregister(
    state: RegistrarState, there: Mapping[str, Mapping[str, Any]], checks: Checks
) -> Iterator[str]:
    for service_id, service in there.items():
        ours = bool(state.owner) and (service.get("Meta") or {}).get(OWNER) == state.owner
        if service_id in state.instances:
            continue
        if service_id in state.to_deregister or (ours and _is_critical(checks, service_id)):
            yield service_id


def _is_critical(checks: Checks, service_id: str) -> bool:
    return any(
        check.get("Status") == Health.CRITICAL.value
        for name, check in checks.items()
        if check.get("ServiceID") == service_id and not name.startswith(_MAINTENANCE)
    )


_MAINTENANCE = (NODE_MAINTENANCE, SERVICE_MAINTENANCE)


def compare_with_pool(
    state: RegistrarState, api: ConsulApi, compared: dict[str, object], on_event: EventSink
) -> Flow[None]:
    """Flow: tell, once each time that something new was learned, who in the pool differs.

    ``compared`` keeps what was told of already.
    """
    for one in list(state.instances.values()):
        mine = one.definition
        if not one.info or compared.get(mine.id) == one.info:
            continue
        pool = yield from execute(api.health(mine.name))
        compared[mine.id] = one.info
        me = Instance(mine.id, mine.name, mine.address, mine.port, meta=one.info)
        others = [one for one in pool.instances if one.id != mine.id]
        for name, other in differences(me, others):
            on_event(
                RegistrarEvent.POOL_DIFFERS,
                mine.id,
                what=name,
                mine=me.meta[name],
                theirs=other.meta[name],
                other=other.uid,
            )
