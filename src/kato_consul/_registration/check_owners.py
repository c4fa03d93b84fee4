"""Check owners: whether a check of an instance belongs to another service of the agent.

An agent keeps one check for an id. A service that registers a check which another one has takes it
away, with its status: the other service then has no check, and counts as passing whatever happens
to it; and the new one has the result of a check of the other.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kato_consul._definitions.schema import ServiceDefinition

Checks = Mapping[str, Mapping[str, Any]]


def check_conflict(
    definition: ServiceDefinition, checks: Checks, released: Collection[str] = ()
) -> str | None:
    """Return which check of an instance another service has; None if there is none.

    Args:
        definition: the instance.
        checks: the agent's checks by their ids.
        released: ids of checks that are no conflict, since their services are about to lose them.
    """
    for check_id, owner in _taken(definition, checks):
        if check_id not in released:
            shown = repr(owner) if owner else repr("the agent's node")
            unless_used = f", or deregister {shown} if it is not used any more" if owner else ""
            return (
                f"{definition.id} is not registered: the check id {check_id!r} is that of a "
                f"check of {shown} on this agent, which would lose it: give the check its "
                f"own id{unless_used}"
            )
    return None


def waits_for_checks(definition: ServiceDefinition, checks: Checks) -> bool:
    """Return whether an instance has the id of a check that another service still has."""
    return any(_taken(definition, checks))


def released_checks(
    checks: Checks, changing: Iterable[ServiceDefinition], leaving: Collection[str] = ()
) -> set[str]:
    """Return the ids of the checks that their services are about to lose.

    Args:
        checks: the agent's checks by their ids.
        changing: instances whose definition the agent does not have yet.
        leaving: ids of services that are about to be deregistered.
    """
    kept = {one.id: {*one.check_ids} for one in changing}
    return {
        check_id
        for check_id, check in checks.items()
        if (owner := check.get("ServiceID")) in leaving
        or (owner in kept and check_id not in kept[owner])
    }


def _taken(definition: ServiceDefinition, checks: Checks) -> Iterator[tuple[str, str]]:
    """Yield each check of an instance that another service has, with the id of this service; ""
    is the agent's node."""
    own = (definition.id, definition.sidecar_id)
    for check_id in definition.check_ids:
        if check_id in checks and (owner := checks[check_id].get("ServiceID") or "") not in own:
            yield check_id, owner
