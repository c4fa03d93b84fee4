"""Passing: waits until the catalog, which clients read, reports instances as usable."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import TokenBucket, next_index
from kato_consul._consul.call import call_consul
from kato_consul._consul.registration_payload import STORE_PROBE_PATH
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._flow import Clock, Flow, Random, Sleep
from kato_consul._registration.events import EventSink, RegistrarEvent
from kato_consul._registration.registering import Checks, Services, is_critical
from kato_consul._registration.registrar_state import owner_of
from kato_consul.errors import ConsulError, ConsulUnavailable, ConsulUnreachable, NotPassing
from kato_consul.models import USABLE_HEALTH, Instance, Snapshot

ANSWER_WITHIN = 0.5
"""Seconds of the wait that are left for the answer of a blocking query. In the last such seconds of
the wait, the catalog is polled."""

POLL_INTERVAL = 0.1
"""Seconds from one such poll to the next."""

CONFIRM_INTERVAL = 0.5
"""Seconds after which an instance is read again that the catalog has as usable, and its agent not:
the two agree soon, but perhaps without a change of the catalog."""

OUTPUTS_WITHIN = 1.0
"""Seconds that the agent has at the end to return why instances are not passing."""


_NOT_KATO = re.compile(rf"HTTP GET \S+{re.escape(STORE_PROBE_PATH)}: (404|405|501) |not KATO: ")
"""The output of the probe's check of an instance that does not have KATO's paths: of the agent's
check, and of the registrar's."""


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

    The agent has to agree: for a moment after a registration, the catalog has the status of before.

    Raises:
        NotPassing: an instance was not passing within ``wait`` seconds.
        ConsulError: Consul did not answer any more.
    """
    until = clock() + wait
    for service in sorted({definition.name for definition in definitions}):
        waiting = {one.id: one for one in definitions if one.name == service}
        bucket = TokenBucket()
        pauses = full_jitter(CONSUL_WAIT, random)
        index = 0
        longest = wait
        snapshot: Snapshot | None = None
        while waiting:
            remaining = until - clock()
            if remaining <= 0:
                instances = snapshot.instances if snapshot else ()
                reasons = yield from _reasons_not_passing(waiting, instances, api)
                raise NotPassing(wait, reasons)
            if pause := bucket.take(clock()):
                yield Sleep(min(pause, remaining))
                remaining = max(0.0, until - clock())
            blocks = min(longest, longest_block(remaining)) if index else 0.0
            if index and not blocks:
                yield Sleep(min(POLL_INTERVAL, remaining))
            call = api.health(service, index=index if blocks else 0, wait=blocks or None)
            try:
                snapshot = yield from call_consul(
                    call.with_timeout(max(until - clock(), POLL_INTERVAL))
                )
                usable = {
                    one.id: one.health
                    for one in snapshot.instances
                    if one.health in USABLE_HEALTH and _is_same(one, waiting.get(one.id))
                }
                checks: Checks = {}
                if usable:
                    checks = yield from call_consul(api.agent_checks().within(until - clock()))
            except (ConsulUnreachable, ConsulUnavailable) as error:
                remaining = until - clock()
                if remaining <= 0 and (blocks or snapshot is None):
                    raise
                index = 0
                yield Sleep(max(0.0, min(next(pauses) + (error.retry_after or 0.0), remaining)))
                continue
            pauses = full_jitter(CONSUL_WAIT, random)
            index = next_index(index, snapshot.index)
            longest = wait
            for service_id, health in usable.items():
                if is_critical(checks, service_id):
                    longest = CONFIRM_INTERVAL
                else:
                    del waiting[service_id]
                    on_event(RegistrarEvent.PASSING, service_id, status=health.value)


def longest_block(remaining: float) -> float:
    """Return how long a query may block so that its answer arrives within ``remaining`` seconds.

    The server adds up to a sixteenth. 0.0: it is too late for a blocking query.
    """
    return max(0.0, (remaining - ANSWER_WITHIN) * 16 / 17)


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
    waiting: Mapping[str, ServiceDefinition], instances: Iterable[Instance], api: ConsulApi
) -> Flow[dict[str, str]]:
    """Flow: return for each id why it is not passing: its health and the output of its check.

    The health is the catalog's. The output is the agent's: the agent holds back changes of the
    output alone (``check_update_interval``, 5 minutes), so the catalog may have none yet.
    """
    listed = {one.id: one for one in instances if _is_same(one, waiting.get(one.id))}
    services: Services | None = None
    checks: Checks = {}
    try:
        services = yield from call_consul(api.agent_services().with_timeout(OUTPUTS_WITHIN / 2))
        checks = yield from call_consul(api.agent_checks().with_timeout(OUTPUTS_WITHIN / 2))
    except ConsulError:
        pass  # it is stated without them
    outputs = {check["ServiceID"]: check["Output"] for check in checks.values()}
    reasons = {}
    for service_id, definition in sorted(waiting.items()):
        if replaced := services is not None and _replaced(definition, services.get(service_id)):
            reasons[service_id] = replaced
        elif one := listed.get(service_id):
            output = _in_one_line(outputs.get(service_id) or one.output)
            reasons[service_id] = f"{one.health}, {output}{_hint(output)}"
        else:
            reasons[service_id] = (
                "not in the catalog yet, or the token may not read it there "
                "(node:read, service:read)"
            )
    return reasons


def _in_one_line(output: str) -> str:
    """Return a check's output in one line, without a web page that the agent appends to it."""
    line = " ".join(output.split())
    head, _, body = line.partition(" Output: ")
    return head if body.startswith("<") else line


def _hint(output: str) -> str:
    """Return what to do about the output of a check; "" if it speaks for itself."""
    if "x509: " in output:
        return (
            ". It is Consul's agent that does not trust the certificate, whatever KATO_CACERT is: "
            "add its CA to those of the agent's machine; or use 'run' or 'exec', which probe the "
            "instance themselves (docs/secure-kato.md)"
        )
    if _NOT_KATO.match(output):
        return ". Is this not KATO? Then give it a check of its own: --check-http or --check-tcp"
    return ""


def _replaced(definition: ServiceDefinition, service: Mapping[str, Any] | None) -> str:
    """Return what has replaced an instance in the agent since it was registered; "" if nothing."""
    if service is None:
        return "the agent does not have it any more: something has deregistered it"
    address, port = service.get("Address") or "", service.get("Port")
    if (address, port) == (definition.address, definition.port):
        return ""
    return (
        f"{owner_of(service)} has registered this id again, with "
        f"{address}:{port} instead of {definition.address}:{definition.port}. Give each instance "
        f"an id of its own, or end that registrar"
    )
