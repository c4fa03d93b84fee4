"""TTL heartbeat: reports a probe's health status to Consul through a TTL check.

A heartbeat is sent at once when the status changes, and again within each interval. So the check
becomes critical by itself when the registrar dies.
"""

from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import call_consul
from kato_consul._definitions.schema import probe_check_id
from kato_consul._durations import parse_duration
from kato_consul._flow import LONG_WAIT, Flow, Random, WaitForChange
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul.errors import ConsulError

HEARTBEAT_JITTER = 0.2
"""Share of the interval by which a heartbeat is early at most. It is never late."""


def send_heartbeats(
    state: RegistrarState, instance: ManagedInstance, api: ConsulApi, *, random: Random
) -> Flow[None]:
    """Flow: send heartbeats for an instance's check, until the instance is removed.

    The reconciler reports Consul errors; this only retries.
    """
    probe = instance.definition.probe
    assert probe is not None
    interval = parse_duration(probe.interval)
    check_id = probe_check_id(instance.definition.id)
    pauses = full_jitter(CONSUL_WAIT, random)
    while not instance.removed:
        health = instance.health.current
        if health is None:
            yield WaitForChange(instance.health, None, LONG_WAIT)
            continue
        if instance.displaced:  # the check is another definition's
            yield WaitForChange(instance.health, health, interval)
            continue
        try:
            check_exists = yield from call_consul(
                api.update_ttl(check_id, health.status, health.note)
            )
        except ConsulError as error:
            pause = next(pauses) + (error.retry_after or 0.0)
        else:
            if not check_exists:
                state.request_reconcile()  # the agent lost the instance or its check
            pauses = full_jitter(CONSUL_WAIT, random)
            pause = interval * (1 - HEARTBEAT_JITTER * random())
        yield WaitForChange(instance.health, health, pause)
