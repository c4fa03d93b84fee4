"""Collisions: ids of instances and of checks that would replace one another on an agent.

Both are unique on an agent. An agent that is given an id a second time replaces what had it: the
first service loses its check, and counts as passing from then on.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kato_consul._definitions.schema import ServiceDefinition
from kato_consul.errors import DefinitionError


@dataclass(frozen=True)
class Place:
    """Where a definition was written: a document (empty: in code), and the service in it.

    ``id_is_name``: it has no id of its own, and so that of its service's name.
    """

    document: str
    service: str
    id_is_name: bool = False


def check_for_collisions(definitions: Sequence[ServiceDefinition]) -> None:
    """Raise DefinitionError if definitions that were made in code share an id."""
    placed = [
        (definition, Place("", f"definition {number} ({definition.id})"))
        for number, definition in enumerate(definitions, 1)
    ]
    ids = [(definition.id, place) for definition, place in placed]
    if mistakes := [*service_collisions(ids, placed), *check_collisions(placed)]:
        raise DefinitionError(mistakes)


def service_collisions(
    ids: Iterable[tuple[str, Place]], placed: Iterable[tuple[ServiceDefinition, Place]]
) -> list[str]:
    """Return one mistake for each id that several instances, or their sidecars, have.

    Args:
        ids: the ids of all instances, also of those whose definitions have mistakes.
        placed: the definitions without mistakes.
    """
    sidecars = [
        (definition.sidecar_id, Place(place.document, f"the sidecar of {place.service}"))
        for definition, place in placed
        if definition.sidecar_id
    ]
    return [
        f"{_prefix(places)}the id {service_id!r} is used {len(places)} times{_elsewhere(places)}"
        for service_id, places in sorted(_grouped([*ids, *sidecars]).items())
        if len(places) > 1
    ]


def check_collisions(placed: Iterable[tuple[ServiceDefinition, Place]]) -> list[str]:
    """Return one mistake for each id of a check that several services have.

    Services with one id are left out: that is their mistake.
    """
    by_service = {definition.id: (definition, place) for definition, place in placed}
    owners = _grouped(
        (check_id, place)
        for definition, place in by_service.values()
        for check_id in definition.check_ids
    )
    return [
        f"{_prefix(places)}the check id {check_id!r} is used by "
        f"{' and by '.join(_names(places))}: give each check its own id"
        for check_id, places in sorted(owners.items())
        if len(places) > 1
    ]


def _grouped(pairs: Iterable[tuple[str, Place]]) -> dict[str, list[Place]]:
    grouped = defaultdict(list)
    for key, place in pairs:
        grouped[key].append(place)
    return grouped


def _prefix(places: Sequence[Place]) -> str:
    """Return the document as the first part of the mistake, if it is one."""
    documents = {place.document for place in places}
    (document, *others) = sorted(documents)
    return "" if others or not document else f"{document}: "


def _names(places: Sequence[Place]) -> list[str]:
    is_one = len({place.document for place in places}) == 1
    return [place.service if is_one else f"{place.document}: {place.service}" for place in places]


def _elsewhere(places: Sequence[Place]) -> str:
    where = (
        "" if len({place.document for place in places}) == 1 else f": {', '.join(_names(places))}"
    )
    if any(place.id_is_name for place in places):
        return f"{where}; without an id, Consul takes the name: give each its own id"
    return where
