"""Check owners: whether a check of an instance belongs to another service of the agent.

An agent keeps one check for an id. A service that registers a check which another one has takes it
away: the other service then has no check, and counts as passing whatever happens to it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from kato_consul._definitions.schema import ServiceDefinition


def check_conflict(
    definition: ServiceDefinition,
    checks: Mapping[str, Mapping[str, Any]],
    leaving: Collection[str] = (),
) -> str | None:
    """Return which check of an instance another service has; None if there is none.

    Args:
        definition: the instance.
        checks: the agent's checks by their ids.
        leaving: ids of services that are about to be deregistered: they may lose their checks.
    """
    own = (definition.id, definition.sidecar_id)
    for check_id in definition.check_ids:
        if check_id in checks:
            owner = checks[check_id].get("ServiceID") or "the agent's node"
            if owner not in own and owner not in leaving:
                return (
                    f"{definition.id} is not registered: the check id {check_id!r} is that of a "
                    f"check of {owner!r} on this agent, which would lose it: give the check its "
                    f"own id"
                )
    return None
