"""Reconciler: registers again what the agent lost or has changed.

The agent is read every second, which costs it two small local answers. This is the only way to
detect a check that was removed, and it bounds how late a restarted agent is detected. The agent may
be down for hours: then some five requests a second are sent, with jitter, and the error is reported
once.

An instance is pruned if its metadata has this registrar's owner name, it is not defined any more,
and it is critical: an earlier run left it behind when it crashed. Instances of other owners are
never pruned. An instance that is not critical is not pruned either: another registrar with the same
name may manage it.
"""

from collections.abc import Iterator

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import call_consul
from kato_consul._flow import Clock, Flow, Random, WaitForChange
from kato_consul._registration.check_owners import (
    check_conflict,
    released_checks,
    waits_for_checks,
)
from kato_consul._registration.contest import describe_differences
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import differences
from kato_consul._registration.registering import (
    Checks,
    Services,
    check_ids_as_defined,
    in_maintenance,
    is_critical,
    registration_calls,
    releasing_calls,
)
from kato_consul._registration.registrar_state import (
    INFO_FIELDS,
    OWNER_KEY,
    ManagedInstance,
    RegistrarState,
    added_meta,
    owner_of,
)
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.models import Instance

RECONCILE_INTERVAL = 1.0
"""Seconds from one read of the agent to the next."""


def reconcile_registrations(
    state: RegistrarState, api: ConsulApi, *, clock: Clock, random: Random, on_event: EventSink
) -> Flow[None]:
    """Flow: keep all managed instances registered, until the registrar stops."""
    last_error = ""
    compared: dict[str, object] = {}
    pauses = full_jitter(CONSUL_WAIT, random)
    registered_with = api.token()
    while not state.stopped:
        requests_seen = state.reconcile_requests.current
        token = api.token()
        new_token = token != registered_with
        try:
            if (yield from _reconcile_once(state, api, clock, on_event, new_token=new_token)):
                yield from compare_with_pool(state, api, compared, on_event)
            registered_with = token
        except ConsulError as error:
            # Any error may pass: a token that does not exist yet, a restart. It is reported once.
            if str(error) != last_error:
                on_event(RegistrarEvent.CONSUL_ERROR, "consul", why=str(error))
            last_error = str(error)
            if isinstance(error, ConsulUnreachable | ConsulUnavailable):
                pause = next(pauses) + (error.retry_after or 0.0)
            else:
                pause = RECONCILE_INTERVAL
        else:
            if last_error:
                on_event(RegistrarEvent.CONSUL_RECOVERED, "consul")
            last_error = ""
            pauses = full_jitter(CONSUL_WAIT, random)
            pause = RECONCILE_INTERVAL
        yield WaitForChange(state.reconcile_requests, requests_seen, pause)


def _reconcile_once(
    state: RegistrarState, api: ConsulApi, clock: Clock, on_event: EventSink, *, new_token: bool
) -> Flow[bool]:
    """Flow: read the agent once and repair all differences.

    With a ``new_token`` all instances are registered again: an agent reports the state of an
    instance to the catalog with the token that it was registered with, which may not exist any
    more. Returns True if there was no difference. Then the catalog has had time to receive earlier
    repairs. An error does not keep the other instances from being repaired; the first error is
    raised at the end.
    """
    # An id that is added after this line may be registered after the read, by a request that was in
    # flight when it was added. So only the next read can show that it is gone.
    to_deregister = tuple(state.to_deregister)
    # An instance that another process deregisters at this moment has its turn the next time.
    joined = [one for one in list(state.instances.values()) if state.join(one.definition.id)]
    services = yield from call_consul(api.agent_services())
    checks = yield from call_consul(api.agent_checks())
    changing = [one.definition for one in joined if not one.registered]
    released = released_checks(checks, changing, to_deregister)
    first_error: ConsulError | None = None
    unchanged = True
    for instance in joined:
        instance.in_maintenance = in_maintenance(checks, instance.definition.id)
        if state.waits_for_health(instance) or instance.removed:
            continue
        if _is_as_defined(state, instance, services, checks):
            instance.registered, instance.displaced = True, False
            if not new_token:
                continue
        unchanged = False
        if conflict := check_conflict(instance.definition, checks, released):
            first_error = first_error or ConsulError(conflict)
            continue
        if not _may_repair(state, instance, services, checks, clock(), on_event):
            continue
        try:
            if waits_for_checks(instance.definition, checks):
                # Their services lose them now. It has its turn the next time; until then it gives
                # up its own, which another one may wait for.
                if instance.definition.id in services:
                    for call in releasing_calls(api, state.payload(instance), checks):
                        yield from call_consul(call)
                continue
            yield from _repair(state, instance, api, services, checks, on_event)
        except ConsulError as error:
            first_error = first_error or error
    gone = set(to_deregister) - services.keys()
    for service_id in _to_deregister(state, services, checks):
        if not state.leave(service_id):
            on_event(RegistrarEvent.LEFT, service_id)
            gone.add(service_id)
            continue
        try:
            yield from call_consul(api.deregister(service_id))
        except ConsulError as error:
            first_error = first_error or error
        else:
            on_event(
                RegistrarEvent.DEREGISTERED
                if service_id in state.to_deregister
                else RegistrarEvent.PRUNED,
                service_id,
            )
            gone.add(service_id)
    for service_id in to_deregister:
        if service_id in gone:
            state.to_deregister.remove(service_id)  # in place: `replace` may add at any moment
            if service_id not in state.instances:
                state.end_lock(service_id)
    if first_error is not None:
        raise first_error
    return unchanged


def _is_as_defined(
    state: RegistrarState, instance: ManagedInstance, services: Services, checks: Checks
) -> bool:
    """Return whether this registrar has registered an instance, and the agent still has it so.

    If another registrar has published other info since, this one adopts it: it may be newer. The
    mark of another owner is left.
    """
    payload = state.payload(instance)
    service = services.get(payload.id)
    if service is None or not instance.registered:  # a changed check may not show in the agent
        return False
    meta = service.get("Meta") or {}
    published = {
        key: meta[key] for key in INFO_FIELDS if key in meta and key not in instance.definition.meta
    }
    same = (payload.address, payload.port) == (service.get("Address") or "", service.get("Port"))
    if same and published and instance.info == instance.published:
        instance.info = instance.published = {**instance.info, **published}
        payload = state.payload(instance)
    ids = check_ids_as_defined(checks, payload)
    ignored = () if not meta.get(OWNER_KEY) else (OWNER_KEY,)
    return not [*payload.differences(services, ids, ignored_meta=ignored)]


def _may_repair(
    state: RegistrarState,
    instance: ManagedInstance,
    services: Services,
    checks: Checks,
    now: float,
    on_event: EventSink,
) -> bool:
    """Return whether an instance is to be registered now. One that another registrar registers
    differently, again and again, is so only from time to time; this is reported once."""
    service_id, contest = instance.definition.id, instance.contest
    payload = state.payload(instance)
    ids = check_ids_as_defined(checks, payload)
    if not (service := services.get(service_id)):
        return True
    what = describe_differences(payload, services, ids, added_meta(instance.definition))
    if not instance.registered or not what:
        return True
    instance.displaced = True
    allowed = contest.repair_allowed(now)
    # Services and checks are two reads. Another registrar may have registered in between: then the
    # service is still this registrar's, and the checks are not. The next read shows the other one.
    meta = service.get("Meta") or {}
    torn = bool(state.owner) and meta.get(OWNER_KEY) == state.owner and what.startswith("checks ")
    if contest.repairs and what != contest.reported and not torn:
        contest.reported = what
        on_event(RegistrarEvent.CONTESTED, service_id, what=what, other=owner_of(service))
    if allowed:
        contest.record_repair(now)
    return allowed


def _repair(
    state: RegistrarState,
    instance: ManagedInstance,
    api: ConsulApi,
    services: Services,
    checks: Checks,
    on_event: EventSink,
) -> Flow[None]:
    """Flow: register an instance, and report why; a change of its own info is not reported."""
    payload = state.payload(instance)
    service = services.get(payload.id)
    for call in registration_calls(api, payload, services, checks):
        yield from call_consul(call)
    if not instance.registered:
        on_event(RegistrarEvent.UPDATED if service else RegistrarEvent.REGISTERED, payload.id)
    elif not service:
        on_event(RegistrarEvent.RE_REGISTERED, payload.id, cause="missing from")
    elif instance.displaced and not instance.contest.reported:
        on_event(RegistrarEvent.RE_REGISTERED, payload.id, cause="changed in")
    instance.registered, instance.displaced = True, False
    instance.published = instance.info
    instance.health.notify()  # so that the heartbeat is sent at once


def _to_deregister(state: RegistrarState, services: Services, checks: Checks) -> Iterator[str]:
    """Yield the ids that are no longer defined, and those to be pruned."""
    # A sidecar has the metadata of its instance, the owner included.
    sidecars = {one.definition.sidecar_id for one in state.instances.values()}
    for service_id, service in services.items():
        owned = bool(state.owner) and (service.get("Meta") or {}).get(OWNER_KEY) == state.owner
        if service_id in state.instances or service_id in sidecars:
            continue
        if service_id in state.to_deregister or (owned and is_critical(checks, service_id)):
            yield service_id


def compare_with_pool(
    state: RegistrarState, api: ConsulApi, compared: dict[str, object], on_event: EventSink
) -> Flow[None]:
    """Flow: report which instances of the pool differ from a managed one in their info.

    This happens once after each change of an instance's info; ``compared`` maps the ids to the info
    that was compared last.
    """
    for instance in list(state.instances.values()):
        definition = instance.definition
        if not instance.info or compared.get(definition.id) == instance.info:
            continue
        pool = yield from call_consul(api.health(definition.name))
        compared[definition.id] = instance.info
        mine = Instance(
            definition.id,
            definition.name,
            definition.address,
            definition.port,
            meta=instance.info,
        )
        others = [one for one in pool.instances if one.id != definition.id]
        for name, other in differences(mine, others):
            on_event(
                RegistrarEvent.POOL_DIFFERS,
                definition.id,
                what=name,
                mine=mine.meta[name],
                theirs=other.meta[name],
                other=other.uid,
            )
