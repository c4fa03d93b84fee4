"""Definitions as people write them: TOML, one ``[[service]]`` table for each instance, or Consul's
own JSON (``{"service": {…}}`` or ``{"services": […]}``), in a file whose name ends in ``.json``.

Nothing is registered from a file with a mistake in it, and every mistake is told at once, with its
place, so that one round of mending is enough.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kato_consul._definitions.decoder import Reader, unknown
from kato_consul._definitions.interpolation import Expansion
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul.errors import DefinitionError


def read_definitions(path: Path) -> list[ServiceDefinition]:
    """The definitions in a file.

    Raises:
        DefinitionError: the file cannot be read, or has mistakes: all of them, with their places.
    """
    of_consul = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if of_consul else tomllib.loads(text)
    except OSError as error:
        raise DefinitionError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # not TOML or JSON, or not UTF-8
        kind = "JSON" if of_consul else "TOML"
        raise DefinitionError([f"{path}: is no {kind}: {error}"]) from error
    return definitions_in(document, str(path), of_consul=of_consul)


def definitions_in(
    document: Any, place: str, *, of_consul: bool = False
) -> list[ServiceDefinition]:
    """The definitions in a document; ``place`` is the file's name.

    ``of_consul``: it is Consul's own JSON, and taken as the agent takes it.

    Raises:
        DefinitionError: with every mistake in it.
    """
    mistakes: list[str] = []
    if of_consul:
        document = _as_toml_has_it(document, place, mistakes)
    mistakes += [unknown(place, key, ["service"]) for key in document if key != "service"]
    tables = document.get("service", [])
    good: list[ServiceDefinition] = []
    if isinstance(tables, Mapping):
        tables = [tables]
    if not isinstance(tables, list) or not all(isinstance(one, Mapping) for one in tables):
        mistakes.append(f"{place}: service must be a table: write [[service]]")
    elif not tables:
        if not mistakes:
            mistakes.append(f"{place}: defines no service: write [[service]], with name and port")
    else:
        reader = Reader(mistakes, loose=of_consul)
        found = [
            reader.read(table, ServiceDefinition, _place_of(place, number, table))
            for number, table in enumerate(tables, 1)
        ]
        mistakes += _repeated(tables, found, place)
        good = [one for one in found if one is not None]
    if mistakes:
        raise DefinitionError(mistakes)
    return good


def _as_toml_has_it(document: Any, place: str, mistakes: list[str]) -> dict[str, Any]:
    """Consul's JSON as a document of ours: one service, several, or the body of an API call."""
    if not isinstance(document, Mapping):
        raise DefinitionError([f'{place}: must be an object: {{"service": {{…}}}}'])
    if any(key.lower() == "name" for key in document):
        return {"service": [document]}
    services = []
    for key, value in document.items():
        if key == "service":
            services.append(value)
        elif key == "services" and isinstance(value, list):
            services += value
        elif key == "services":
            mistakes.append(f"{place}: services must be a list: {{{_SERVICES}}}")
        else:
            mistakes.append(unknown(place, key, ["service", "services"]))
    for number, one in enumerate(services, 1):
        if not isinstance(one, Mapping):
            mistakes.append(f"{place}: service {number} must be an object, not {one!r}")
    return {"service": [one for one in services if isinstance(one, Mapping)]}


_SERVICES = '"services": [{…}, {…}]'


def _repeated(
    tables: Sequence[Mapping[str, Any]], found: Sequence[ServiceDefinition | None], place: str
) -> list[str]:
    """Ids that several have, those among them whose definitions have other mistakes; as they are
    written, since a file's content may be in them."""
    count: dict[str, list[str]] = {}
    for table, one in zip(tables, found, strict=True):
        written = table.get("id") or table.get("ID")
        if one is not None:
            count.setdefault(one.id, []).append(written if isinstance(written, str) else one.id)
        elif isinstance(written, str):
            count.setdefault(Expansion().of(written), []).append(written)
    return [
        f"{place}: the id {written[0]!r} is used {len(written)} times"
        for _, written in sorted(count.items())
        if len(written) > 1
    ]


def _place_of(place: str, number: int, table: Mapping[str, Any]) -> str:
    names = (table.get("id"), table.get("name"))
    name = next((one for one in names if isinstance(one, str) and one), None)
    return f"{place}: service {number} ({name})" if name else f"{place}: service {number}"
