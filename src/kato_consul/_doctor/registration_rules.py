"""Rules for the registration of one instance: its rows of the table in `_doctor.rules`."""

import shlex
from collections.abc import Iterator

from kato_consul._definitions.schema import probe_check_id
from kato_consul._doctor.facts import InstanceFacts, RegistrationFacts
from kato_consul._doctor.findings import Finding, Severity
from kato_consul._registration.removal import deregister_command
from kato_consul.models import Health, Instance


def check_registration(facts: InstanceFacts) -> Iterator[Finding]:
    """Yield the findings about the registration of one instance."""
    instance, registration = facts.instance, facts.registration
    if instance.health is Health.MAINTENANCE:
        yield Finding(
            "instance.maintenance",
            Severity.NOTE,
            instance.uid,
            f"it is in maintenance mode: {instance.output}",
            f"'kato-consul drain --off {shlex.quote(instance.id)}' ends that",
        )
    if registration.no_address:
        yield Finding(
            "instance.no-address",
            Severity.NOTE,
            instance.uid,
            f"it is registered without an address: clients use its node's, {instance.address}",
            "register an address if it listens on another one",
        )
    if registration.node_alive is False:
        yield _dead_node(facts)
        return
    if instance.address_error:
        yield Finding(
            "instance.address",
            Severity.ERROR,
            instance.uid,
            f"clients cannot use it: {instance.address_error}",
            f"correct its definition{_by(registration)}, and register it again with the agent of "
            f"node {instance.node}: a host name or an IP address, a port from 1 to 65535, and "
            "a valid scheme and path",
        )
    if registration.registrars:
        yield Finding(
            "instance.flapping",
            Severity.WARNING,
            instance.uid,
            "its registration changes again and again: several registrars register it, or another "
            "service's check has the id of its own",
            f"let one registrar define it, with a check id of its own{_of(registration)}",
        )
    elif registration.checks == 0:
        yield Finding(
            "check.none",
            Severity.WARNING,
            instance.uid,
            "it has no check: Consul reports it as passing, whatever happens to it",
            "register it with a check whose id no other service of its agent has: an agent keeps "
            "one check for each id, so another service with the same one takes it away",
        )
    if facts.unreachable:
        return  # an instance that is gone needs no heartbeats
    for check in registration.expired:
        is_probe = check == probe_check_id(instance.id)
        yield Finding(
            "check.expired",
            Severity.WARNING,
            instance.uid,
            f"its TTL check {check!r} has expired: nothing reports to it any more",
            f"start its registrar again{_by(registration)} ('kato-consul run' or 'exec'), or "
            f"register it with 'kato-consul register', whose check the agent runs itself"
            if is_probe
            else "start the program that reports to it, or register a check that the agent runs",
        )


def remove_or_start(instance: Instance, registration: RegistrationFacts) -> str:
    """Return what to do with an instance that does not respond: it may be gone, or starting."""
    if registration.reporting:
        return (
            f"start it: its registrar{_by(registration)} still runs ('exec' starts it itself). If "
            f"it no longer exists, end the registrar, which deregisters it"
        )
    if registration.node_alive is None and registration.checks is not None:
        command = deregister_command(instance.id, instance.node)
        return f"if it no longer exists: '{command}', since no agent has it"
    command = deregister_command(instance.id)
    return f"if it no longer exists: '{command}' with the agent of its node, {instance.node}"


def _dead_node(facts: InstanceFacts) -> Finding:
    instance = facts.instance
    dead = f"its node {instance.node} is dead: Consul's agent there does not answer"
    remove = f"'{deregister_command(instance.id, instance.node)}', with any agent"
    start = f"start the agent of {instance.node}"
    if facts.unreachable or instance.address_error:
        what, todo = dead, f"if the machine is gone: {remove}; otherwise {start}"
    else:
        what = f"{dead}. The instance itself does, but no client uses it"
        todo = f"{start}; or, to remove the instance: {remove}"
    return Finding("instance.dead-node", Severity.WARNING, instance.uid, what, todo)


def _by(registration: RegistrationFacts) -> str:
    return f" ({registration.owner})" if registration.owner else ""


def _of(registration: RegistrationFacts) -> str:
    owners = [owner for owner in registration.registrars if owner]
    return f"; seen: {' and '.join(owners)}" if owners else ""
