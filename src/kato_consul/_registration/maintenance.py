"""Maintenance mode and draining: moves clients to other instances, and waits until they have.

Maintenance mode is Consul's own. Clients see it at once and choose other instances; requests in
progress complete. Clients have left when no worker process of the instance has a request of theirs
in progress, and none had one for `IDLE_FOR` seconds (`_registration.instance_activity`). An
instance that does not report its requests gets the whole drain time, if it has the check of KATO's
probe. Without one it need not be KATO, and may never report them: its clients have `IDLE_FOR`
seconds, or none if it was critical.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from types import MappingProxyType
from urllib.parse import urlsplit

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import call_consul
from kato_consul._definitions.schema import ServiceDefinition, probe_check_id
from kato_consul._flow import Clock, Flow, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.instance_activity import InstanceActivity
from kato_consul._registration.registering import Checks, is_critical
from kato_consul.errors import ConsulError, ConsulRejected

ACTIVITY_POLL_INTERVAL = 0.25
"""Seconds from one poll of an instance's activity to the next."""

IDLE_FOR = 1.0
"""Seconds without a request of a client after which an instance is drained. Clients detect
maintenance mode within milliseconds. Only the next attempt of a call in progress may come later."""

NOT_LISTED = (
    f"it does not list its requests as KATO does, so its clients had {IDLE_FOR:g} s to leave"
)
WAS_CRITICAL = "it was critical, so no client uses it"

_CHECKED_URL = re.compile(r"HTTP [A-Z]+ (\S+): ")
"""How the output of an agent's HTTP check begins. Agents do not list what a check requests."""


def enter(
    api: ConsulApi, definition: ServiceDefinition, reason: str, within: float, on_event: EventSink
) -> Flow[None]:
    """Flow: put an instance into maintenance mode, within so many seconds.

    Raises:
        ConsulRejected: the agent has no such instance.
        ConsulError: the agent does not answer, or the token is not allowed to do this.
    """
    if not (yield from call_consul(api.maintenance(definition.id, reason).within(within))):
        raise (yield from _no_such_instance(api, "draining", definition))
    on_event(RegistrarEvent.DRAINING, definition.id, reason=reason)


def leave(api: ConsulApi, definition: ServiceDefinition, on_event: EventSink) -> Flow[None]:
    """Flow: end an instance's maintenance mode. Raises as `enter`."""
    if not (yield from call_consul(api.maintenance(definition.id, None))):
        raise (yield from _no_such_instance(api, "resuming", definition))
    on_event(RegistrarEvent.RESUMED, definition.id)


def _no_such_instance(
    api: ConsulApi, doing: str, definition: ServiceDefinition
) -> Flow[ConsulRejected]:
    """Flow: return the error for an instance that the agent does not have, with its node if the
    catalog lists it."""
    nodes: list[str] = []
    with suppress(ConsulError):
        found = yield from call_consul(api.catalog_service(definition.name, [definition.id]))
        nodes = sorted({f"{one['Node']} ({one['Address']})" for one in found})
    where = f", of node {' and '.join(nodes)}" if nodes else ""
    why = f"the agent has no such instance. Use the agent that it was registered with{where}"
    return ConsulRejected(api.address, f"{doing} {definition.id!r}", 404, why)


def read_checks(api: ConsulApi, within: float) -> Flow[Checks]:
    """Flow: return the agent's checks; none if it does not return them within so many seconds."""
    with suppress(ConsulError):  # then a check of an unusual path is taken for a client
        return (yield from call_consul(api.agent_checks().within(within)))
    return {}


def check_paths(definitions: Sequence[ServiceDefinition], checks: Checks) -> dict[str, set[str]]:
    """Return the paths that each instance's plain HTTP checks request, by the ids: those of its
    definition, and those that the agent's checks name, whatever registered them."""
    paths = {
        one.id: {urlsplit(check.http).path for check in one.plain_checks if check.http}
        for one in definitions
    }
    for check in checks.values():
        url = _CHECKED_URL.match(check.get("Output") or "")
        if url and check.get("ServiceID") in paths:
            paths[check["ServiceID"]].add(urlsplit(url[1]).path)
    return paths


def wait_until_idle(
    definitions: Sequence[ServiceDefinition],
    within: float,
    *,
    clock: Clock,
    on_event: EventSink,
    checks: Checks = MappingProxyType({}),
) -> Flow[bool]:
    """Flow: wait until no client uses the instances, at most ``within`` seconds.

    ``checks`` are those of the agent, if they are known. Returns whether all became idle in time.
    """
    started = clock()
    until = started + within
    paths = check_paths(definitions, checks)
    waiting = {one.id: InstanceActivity(one.origin, clock, paths[one.id]) for one in definitions}
    unprobed = {one.id for one in definitions if not _is_probed(one, checks)}
    for service_id in unprobed:
        if is_critical(checks, service_id):
            on_event(RegistrarEvent.DRAINED, service_id, why=WAS_CRITICAL)
            del waiting[service_id]
    while waiting and until > clock():
        for service_id, activity in list(waiting.items()):
            # An instance that answers slowly leaves time for the others.
            share = (until - clock()) / len(waiting)
            if clock() < started + IDLE_FOR:
                yield from activity.find_workers(share)
            elif (yield from _is_idle(activity, share, clock)):
                on_event(RegistrarEvent.DRAINED, service_id, why=f"no request for {IDLE_FOR:g} s")
                del waiting[service_id]
            elif service_id in unprobed and not activity.workers:
                on_event(RegistrarEvent.DRAINED, service_id, why=NOT_LISTED)
                del waiting[service_id]
        if waiting:
            yield Sleep(min(ACTIVITY_POLL_INTERVAL, max(until - clock(), 0.0)))
    for service_id, activity in waiting.items():
        on_event(RegistrarEvent.STILL_BUSY, service_id, why=activity.description)
    return not waiting


def _is_probed(definition: ServiceDefinition, checks: Checks) -> bool:
    """Return whether an instance has the check of KATO's probe: the agent knows best."""
    if checks:
        return probe_check_id(definition.id) in checks
    return definition.probe is not None


def _is_idle(activity: InstanceActivity, within: float, clock: Clock) -> Flow[bool]:
    """Flow: return whether no client used the instance in the last `IDLE_FOR` seconds."""
    until = clock() + within
    if not activity.workers:
        yield from activity.find_workers(within)
    return (yield from activity.is_idle(IDLE_FOR, until - clock()))
