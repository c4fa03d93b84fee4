"""Telling Consul what a probe found, through a TTL check: at once when it changes, and again within
each interval, so that the check goes critical by itself when nobody is left to report.
"""

from kato_consul import _durations as durations
from kato_consul._backoff import CONSUL_WAIT, full_jitter
from kato_consul._consul.api import ConsulApi, execute
from kato_consul._consul.registration_payload import probe_check_id
from kato_consul._flow import Flow, Random, WaitForChange
from kato_consul._registration.registrar_state import ManagedInstance, RegistrarState
from kato_consul.errors import ConsulError

JITTER = 0.2
"""Reports come early by up to this share of the interval, never late."""

UNTIL_KNOWN = 3600.0
"""Seconds between looks at whether there is a verdict; a change wakes at once."""


def send_heartbeats(
    state: RegistrarState, one: ManagedInstance, api: ConsulApi, *, random: Random
) -> Flow[None]:
    """Flow: keep the instance's check fed, until nobody looks after it any more.

    What goes wrong with Consul is the guardian's to tell, who meets it too; here it is tried again.
    """
    probe = one.definition.probe
    assert probe is not None
    interval = durations.parse_duration(probe.interval)
    check_id = probe_check_id(one.definition.id)
    pauses = full_jitter(CONSUL_WAIT, random)
    while not one.removed:
        verdict = one.health.current
        if verdict is None:
            yield WaitForChange(one.health, None, UNTIL_KNOWN)
            continue
        try:
            known = yield from execute(api.update_ttl(check_id, verdict.status, verdict.note))
        except ConsulError as error:
            pause = next(pauses) + (error.retry_after or 0.0)
        else:
            if not known:
                state.request_reconcile()  # the agent lost the instance, or its check was removed
            pauses = full_jitter(CONSUL_WAIT, random)
            pause = interval * (1 - JITTER * random())
        yield WaitForChange(one.health, verdict, pause)
