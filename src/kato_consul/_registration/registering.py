"""Registering: the calls that register one instance, so that no stale status is believed.

An agent keeps the status of a check that is registered again under the same id. So a passing
instance does not flap. But the status is that of the former target: an instance that was registered
with another address or port would count as passing until its next check. In this case, its checks
are replaced by one that is critical, and then by its own: an agent starts a check anew that it does
not have.

An agent does not return what a check connects to. But the output of one that passes does.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall
from kato_consul._consul.former_registration import TARGET_IN_OUTPUT, FormerRegistration
from kato_consul._consul.registration_payload import RegistrationPayload, check_target
from kato_consul._consul.snapshot_decoder import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from kato_consul._definitions.schema import probe_check_id
from kato_consul.models import Health

Checks = Mapping[str, Mapping[str, Any]]
"""An agent's checks by their ids, as ``/v1/agent/checks`` returns them."""

Services = Mapping[str, Mapping[str, Any]]
"""An agent's services by their ids, as ``/v1/agent/services`` returns them."""


def registration_calls(
    api: ConsulApi,
    payload: RegistrationPayload | FormerRegistration,
    services: Services,
    checks: Checks,
) -> list[ConsulCall[bool]]:
    """Return the calls that register an instance, to be executed in this order.

    ``services`` and ``checks`` are those that the agent has now.
    """
    draining = in_maintenance(checks, payload.id)
    registers = api.register(payload, replace_checks=not draining)
    if has_stale_status(payload, services.get(payload.id), checks):
        return [*releasing_calls(api, payload, checks), registers]
    if not draining:
        return [registers]
    # Replacing all checks would remove the check that is maintenance mode. So those that are not
    # defined any more are removed one by one.
    former = _checks_of_definition(checks, payload.id) - {
        one["CheckID"] for one in payload.checks()
    }
    return [*(api.deregister_check(check_id) for check_id in sorted(former)), registers]


def releasing_calls(
    api: ConsulApi, payload: RegistrationPayload | FormerRegistration, checks: Checks
) -> list[ConsulCall[bool]]:
    """Return the calls after which a registered instance has none of its checks, and is critical
    until it is registered with its own."""
    if in_maintenance(checks, payload.id):  # it stays critical meanwhile
        ids = sorted(_checks_of_definition(checks, payload.id))
        return [api.deregister_check(check_id) for check_id in ids]
    return [api.register(payload, checks=[not_checked_yet(payload.id)])]


def has_stale_status(
    payload: RegistrationPayload | FormerRegistration,
    service: Mapping[str, Any] | None,
    checks: Checks,
) -> bool:
    """Return whether a check would keep a status that is not of what it is to check from now."""
    return service is not None and any(
        checks[check_id].get("Status") != Health.CRITICAL.value
        for check_id in changed_checks(payload, service, checks)
    )


def changed_checks(
    payload: RegistrationPayload | FormerRegistration, service: Mapping[str, Any], checks: Checks
) -> Iterator[str]:
    """Yield the ids of the checks that the agent has, and that are to check something else."""
    moved = (payload.address, payload.port) != (service.get("Address") or "", service.get("Port"))
    for check in payload.checks():
        before = checks.get(check["CheckID"])
        if before is not None and (moved or _checks_another_target(check, before, payload.id)):
            yield check["CheckID"]


def _checks_another_target(
    check: Mapping[str, Any], before: Mapping[str, Any], service_id: str
) -> bool:
    kind = before.get("Type")
    if not kind:  # an agent before 1.7 does not return it
        return False
    target = check_target(check, kind)
    if target is None:
        # The probe's check is a TTL check or an HTTP check, of the same instance.
        return bool(check["CheckID"] != probe_check_id(service_id))
    output: str = before.get("Output") or ""  # none after a restart of the agent
    return kind in TARGET_IN_OUTPUT and bool(output) and target not in output


def not_checked_yet(service_id: str) -> dict[str, Any]:
    """Return the check of an instance in the moment between its former checks and its own."""
    return {
        "CheckID": f"kato-consul:changed:{service_id}",
        "Name": "changed, and not checked yet",
        "TTL": "24h",
        "Status": Health.CRITICAL.value,
    }


def in_maintenance(checks: Checks, service_id: str) -> bool:
    """Return whether the instance itself, not only its node, is in maintenance mode."""
    return f"{SERVICE_MAINTENANCE}:{service_id}" in checks


def _checks_of_definition(checks: Checks, service_id: str) -> set[str]:
    """Return the ids of an instance's checks, without maintenance mode."""
    return check_ids(checks, service_id) - {f"{SERVICE_MAINTENANCE}:{service_id}"}


def check_ids(checks: Checks, service_id: str) -> set[str]:
    """Return the ids of an instance's checks."""
    return {name for name, check in checks.items() if check.get("ServiceID") == service_id}


def check_ids_as_defined(checks: Checks, payload: RegistrationPayload) -> set[str]:
    """Return the ids of an instance's checks, without a probe's check of the other kind: the agent
    runs the one of a startup job, and that of a registrar takes its heartbeats."""
    ids = check_ids(checks, payload.id)
    probe = probe_check_id(payload.id)
    kind = checks[probe].get("Type") if probe in ids else None
    return ids - {probe} if kind and kind != ("ttl" if payload.ttl else "http") else ids


def is_fed(checks: Checks, service_id: str) -> bool:
    """Return whether a registrar that runs sends heartbeats for an instance."""
    check = checks.get(probe_check_id(service_id), {})
    return check.get("Type") == "ttl" and "TTL expired" not in (check.get("Output") or "")


def is_critical(checks: Checks, service_id: str) -> bool:
    """Return whether one of an instance's checks is critical, maintenance mode not counted."""
    return any(
        check.get("Status") == Health.CRITICAL.value
        for name, check in checks.items()
        if check.get("ServiceID") == service_id
        and not name.startswith((NODE_MAINTENANCE, SERVICE_MAINTENANCE))
    )
