"""Passing: waits until the catalog, which clients read, reports instances as usable."""

from collections.abc import Iterable, Mapping, Sequence

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import TokenBucket, next_index, query_timeout
from kato_consul._consul.call import call_consul
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.reconciler import Checks
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable, NotPassing
from kato_consul.models import USABLE_HEALTH, Instance, Snapshot


def wait_until_passing(
    definitions: Sequence[ServiceDefinition],
    wait: float,
    api: ConsulApi,
    *,
    clock: Clock,
    random: Random,
    on_event: EventSink,
) -> Flow[None]:
    """Flow: wait until clients see all instances as passing, or as in warning: they use both.

    Raises:
        NotPassing: an instance was not passing within ``wait`` seconds.
    """
    until = clock() + wait
    for service in sorted({definition.name for definition in definitions}):
        waiting = {one.id: one for one in definitions if one.name == service}
        bucket = TokenBucket()
        pauses = full_jitter(CONSUL_WAIT, random)
        index = 0
        snapshot: Snapshot | None = None
        while waiting:
            remaining = until - clock()
            if remaining <= 0:
                instances = snapshot.instances if snapshot else ()
                outputs = yield from _check_outputs(api)
                raise NotPassing(wait, _reasons_not_passing(waiting, instances, outputs))
            if pause := bucket.take(clock()):
                yield Sleep(min(pause, remaining))
                remaining = max(0.0, until - clock())
            call = api.health(service, index=index, wait=remaining if index else None)
            try:
                snapshot = yield from call_consul(call.with_timeout(query_timeout(remaining)))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                remaining = until - clock()
                if remaining <= 0:
                    raise
                index = 0
                yield Sleep(min(next(pauses) + (error.retry_after or 0.0), remaining))
                continue
            pauses = full_jitter(CONSUL_WAIT, random)
            index = next_index(index, snapshot.index)
            for instance in snapshot.instances:
                usable = instance.health in USABLE_HEALTH
                if usable and _is_same(instance, waiting.get(instance.id)):
                    del waiting[instance.id]
                    on_event(RegistrarEvent.PASSING, instance.id, status=instance.health.value)


def _check_outputs(api: ConsulApi) -> Flow[Checks]:
    """Flow: read the agent's checks with their outputs; empty if it does not answer."""
    try:
        return (yield from call_consul(api.agent_checks()))
    except ConsulError:
        return {}


def _is_same(instance: Instance, definition: ServiceDefinition | None) -> bool:
    """Return whether an instance in the catalog is the one that the definition describes.

    Another agent may have an instance with the same id; the address distinguishes them.
    """
    return (
        definition is not None
        and definition.port == instance.port
        and definition.address in ("", instance.address)
    )


def _reasons_not_passing(
    waiting: Mapping[str, ServiceDefinition], instances: Iterable[Instance], checks: Checks
) -> dict[str, str]:
    """Return for each id why it is not passing: its health and the output of its check.

    The health is the catalog's. The output is the agent's: the agent holds back changes of the
    output alone (``check_update_interval``, 5 minutes), so the catalog may have none yet.
    """
    listed = {one.id: one for one in instances if _is_same(one, waiting.get(one.id))}
    outputs = {check["ServiceID"]: " ".join(check["Output"].split()) for check in checks.values()}
    return {
        service_id: f"{listed[service_id].health}, "
        f"{outputs.get(service_id) or listed[service_id].output}"
        if service_id in listed
        else "not in the catalog yet, or the token may not read it there (node:read, service:read)"
        for service_id in sorted(waiting)
    }
