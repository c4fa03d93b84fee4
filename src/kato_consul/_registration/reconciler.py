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

from collections.abc import Iterator, Mapping
from typing import Any

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import call_consul
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._consul.snapshot_decoder import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from kato_consul._flow import Flow, Random, WaitForChange
from kato_consul._registration.check_owners import check_conflict
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_info import differences
from kato_consul._registration.registrar_state import OWNER_KEY, ManagedInstance, RegistrarState
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable
from kato_consul.models import Health, Instance

RECONCILE_INTERVAL = 1.0
"""Seconds from one read of the agent to the next."""

Checks = Mapping[str, Mapping[str, Any]]
"""An agent's checks by their ids, as ``/v1/agent/checks`` returns them."""

Services = Mapping[str, Mapping[str, Any]]
"""An agent's services by their ids, as ``/v1/agent/services`` returns them."""


def reconcile_registrations(
    state: RegistrarState, api: ConsulApi, *, random: Random, on_event: EventSink
) -> Flow[None]:
    """Flow: keep all managed instances registered, until the registrar stops."""
    last_error = ""
    compared: dict[str, object] = {}
    pauses = full_jitter(CONSUL_WAIT, random)
    while not state.stopped:
        requests_seen = state.reconcile_requests.current
        try:
            if (yield from _reconcile_once(state, api, on_event)):
                yield from compare_with_pool(state, api, compared, on_event)
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


def _reconcile_once(state: RegistrarState, api: ConsulApi, on_event: EventSink) -> Flow[bool]:
    """Flow: read the agent once and repair all differences.

    Returns True if there was no difference. Then the catalog has had time to receive earlier
    repairs. An error does not keep the other instances from being repaired; the first error is
    raised at the end.
    """
    # An id that is added after this line may be registered after the read, by a request that was in
    # flight when it was added. So only the next read can show that it is gone.
    to_deregister = tuple(state.to_deregister)
    services = yield from call_consul(api.agent_services())
    checks = yield from call_consul(api.agent_checks())
    first_error: ConsulError | None = None
    unchanged = True
    for instance in list(state.instances.values()):
        payload = state.payload(instance)
        instance.in_maintenance = in_maintenance(checks, payload.id)
        if state.waits_for_health(instance) or instance.removed:
            continue
        if payload.matches(
            services.get(payload.id),
            check_ids(checks, payload.id),
            sidecar=_sidecar(instance, services),
        ):
            instance.registered = True
            continue
        unchanged = False
        if conflict := check_conflict(instance.definition, checks, to_deregister):
            first_error = first_error or ConsulError(conflict)
            continue
        try:
            # Replacing all checks would remove the check that is maintenance mode.
            yield from call_consul(
                api.register(payload, replace_checks=not instance.in_maintenance)
            )
        except ConsulError as error:
            first_error = first_error or error
        else:
            _report_registered(instance, payload, services, checks, on_event)
            instance.registered = True
            instance.health.notify()  # so that the heartbeat is sent at once
    gone = set(to_deregister) - services.keys()
    for service_id in _to_deregister(state, services, checks):
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
    if first_error is not None:
        raise first_error
    return unchanged


def _report_registered(
    instance: ManagedInstance,
    payload: RegistrationPayload,
    services: Services,
    checks: Checks,
    on_event: EventSink,
) -> None:
    """Report why an instance was registered; a change of its own info alone is not reported."""
    service = services.get(payload.id)
    if not instance.registered:
        on_event(RegistrarEvent.REGISTERED, payload.id)
    elif not service:
        on_event(RegistrarEvent.RE_REGISTERED, payload.id, cause="missing from")
    elif not payload.matches(
        service,
        check_ids(checks, payload.id),
        sidecar=_sidecar(instance, services),
        ignored_meta=instance.info,
    ):
        on_event(RegistrarEvent.RE_REGISTERED, payload.id, cause="changed in")


def _sidecar(instance: ManagedInstance, services: Services) -> Mapping[str, Any] | None:
    """Return the record of the instance's sidecar, if there is one."""
    return services.get(instance.definition.sidecar_id or "")


def in_maintenance(checks: Checks, service_id: str) -> bool:
    """Return whether the instance itself, not only its node, is in maintenance mode."""
    return f"{SERVICE_MAINTENANCE}:{service_id}" in checks


def check_ids(checks: Checks, service_id: str) -> set[str]:
    """Return the ids of an instance's checks."""
    return {name for name, check in checks.items() if check.get("ServiceID") == service_id}


def _to_deregister(state: RegistrarState, services: Services, checks: Checks) -> Iterator[str]:
    """Yield the ids that are no longer defined, and those to be pruned."""
    # A sidecar has the metadata of its instance, the owner included.
    sidecars = {one.definition.sidecar_id for one in state.instances.values()}
    for service_id, service in services.items():
        owned = bool(state.owner) and (service.get("Meta") or {}).get(OWNER_KEY) == state.owner
        if service_id in state.instances or service_id in sidecars:
            continue
        if service_id in state.to_deregister or (owned and _is_critical(checks, service_id)):
            yield service_id


def _is_critical(checks: Checks, service_id: str) -> bool:
    return any(
        check.get("Status") == Health.CRITICAL.value
        for name, check in checks.items()
        if check.get("ServiceID") == service_id and not name.startswith(_MAINTENANCE_CHECKS)
    )


_MAINTENANCE_CHECKS = (NODE_MAINTENANCE, SERVICE_MAINTENANCE)


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
