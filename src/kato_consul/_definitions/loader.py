"""Loader: reads service definitions from a file.

A file is TOML, with one ``[[service]]`` table per instance. A file whose name ends in ``.json`` is
Consul's own JSON: ``{"service": {…}}`` or ``{"services": […]}``.

If a file has a mistake, none of its instances is registered. All mistakes are reported at once,
each with its location, so that one round of corrections is enough.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kato_consul._definitions.decoder import TableDecoder, unknown_key
from kato_consul._definitions.interpolation import Interpolation
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul.errors import DefinitionError


def read_definitions(path: Path) -> list[ServiceDefinition]:
    """Read and decode the definitions in a file.

    Args:
        path: the file. With the suffix ``.json`` it is Consul's JSON, otherwise TOML.

    Raises:
        DefinitionError: the file cannot be read or has mistakes; it holds all of them, with their
            locations.
    """
    consul_json = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if consul_json else tomllib.loads(text)
    except OSError as error:
        raise DefinitionError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # not TOML or JSON, or not UTF-8
        kind = "JSON" if consul_json else "TOML"
        raise DefinitionError([f"{path}: is not valid {kind}: {error}"]) from error
    return decode_definitions(document, str(path), consul_json=consul_json)


def decode_definitions(
    document: Any, location: str, *, consul_json: bool = False
) -> list[ServiceDefinition]:
    """Decode the definitions in a document.

    Args:
        document: what TOML or JSON was parsed to.
        location: first part of each mistake, such as the file's name.
        consul_json: the document is Consul's own JSON, and is accepted as the agent accepts it.

    Raises:
        DefinitionError: the document has mistakes; it holds all of them, with their locations.
    """
    mistakes: list[str] = []
    if consul_json:
        document = _from_consul_json(document, location, mistakes)
    mistakes += [unknown_key(location, key, ["service"]) for key in document if key != "service"]
    tables = document.get("service", [])
    definitions: list[ServiceDefinition] = []
    if isinstance(tables, Mapping):
        tables = [tables]
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        mistakes.append(f"{location}: service must be a table: write [[service]]")
    elif not tables:
        if not mistakes:
            mistakes.append(
                f"{location}: defines no service: write [[service]], with name and port"
            )
    else:
        decoder = TableDecoder(mistakes, consul_json=consul_json)
        decoded = [
            decoder.decode(table, ServiceDefinition, _service_location(location, number, table))
            for number, table in enumerate(tables, 1)
        ]
        mistakes += _duplicate_ids(tables, decoded, location)
        definitions = [definition for definition in decoded if definition is not None]
    if mistakes:
        raise DefinitionError(mistakes)
    return definitions


def _from_consul_json(document: Any, location: str, mistakes: list[str]) -> dict[str, Any]:
    """Convert Consul's JSON to the form of the TOML file.

    It is one service, several services, or the body of a registration request.
    """
    if not isinstance(document, Mapping):
        raise DefinitionError([f'{location}: must be an object: {{"service": {{…}}}}'])
    if any(key.lower() == "name" for key in document):
        return {"service": [document]}
    services = []
    for key, value in document.items():
        if key == "service":
            services.append(value)
        elif key == "services" and isinstance(value, list):
            services += value
        elif key == "services":
            mistakes.append(f'{location}: services must be a list: {{"services": [{{…}}, {{…}}]}}')
        else:
            mistakes.append(unknown_key(location, key, ["service", "services"]))
    for number, service in enumerate(services, 1):
        if not isinstance(service, Mapping):
            mistakes.append(f"{location}: service {number} must be an object, not {service!r}")
    return {"service": [service for service in services if isinstance(service, Mapping)]}


def _duplicate_ids(
    tables: Sequence[Mapping[str, Any]],
    decoded: Sequence[ServiceDefinition | None],
    location: str,
) -> list[str]:
    """Return one mistake for each id that several services have.

    Services with other mistakes count too. Ids are reported as written in the file, because the
    content of a secret file may be part of them.
    """
    written_by_id: dict[str, list[str]] = {}
    for table, definition in zip(tables, decoded, strict=True):
        written = table.get("id") or table.get("ID")
        if definition is not None:
            written = written if isinstance(written, str) else definition.id
            written_by_id.setdefault(definition.id, []).append(written)
        elif isinstance(written, str):
            written_by_id.setdefault(Interpolation().apply(written), []).append(written)
    return [
        f"{location}: the id {written[0]!r} is used {len(written)} times"
        for _, written in sorted(written_by_id.items())
        if len(written) > 1
    ]


def _service_location(location: str, number: int, table: Mapping[str, Any]) -> str:
    candidates = (table.get("id"), table.get("name"))
    name = next((text for text in candidates if isinstance(text, str) and text), None)
    return f"{location}: service {number} ({name})" if name else f"{location}: service {number}"
