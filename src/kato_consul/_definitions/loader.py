"""Loader: reads service definitions from files, folders and standard input.

A file is TOML, with one ``[[service]]`` table per instance. A file whose name ends in ``.json`` or
``.hcl`` is in one of Consul's own forms: ``{"service": {…}}``, ``{"services": […]}``, or the same
as blocks.

If there is a mistake, no instance is registered. All mistakes are reported at once, each with its
location, so that one round of corrections is enough.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kato_consul._definitions import consul_form
from kato_consul._definitions.collisions import Place, check_collisions, service_collisions
from kato_consul._definitions.decoder import DecodedService, TableDecoder
from kato_consul._definitions.document import Document, Form, read_documents
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._definitions.unsupported import unknown_key
from kato_consul._logging import logger
from kato_consul.errors import DefinitionError

log = logger("definitions")


def log_warning(text: str) -> None:
    """Write a warning to the log ``kato_consul.definitions``."""
    log.warning("definition.warning", text=text)


def read_definitions(
    *paths: Path | str, expand: bool = False, on_warning: Callable[[str], None] = log_warning
) -> list[ServiceDefinition]:
    """Read and decode the definitions in files, in folders and from standard input.

    Args:
        paths: files, folders (for each ``.toml``, ``.json`` and ``.hcl`` file in it, by name), and
            ``-`` for standard input, which may have any of the three forms. A file whose name ends
            in ``.json`` or ``.hcl`` is Consul's, in ``.toml`` TOML; the form of any other file is
            detected.
        expand: replace ``${NAME}`` and ``${file:/path}`` in Consul's forms, too. In TOML they
            always are.
        on_warning: called with each text that the user should know; logged unless given.

    Raises:
        DefinitionError: the files cannot be read or have mistakes; it holds all of them, with their
            locations. HCL needs python-hcl2, which the extra ``hcl`` installs.
    """
    mistakes: list[str] = []
    decoders = [
        _decode(document, expand=expand, mistakes=mistakes)
        for document in read_documents(paths, mistakes)
    ]
    return _all_or_mistakes(decoders, mistakes, on_warning)


def decode_definitions(
    content: Any, location: str, form: Form = Form.TOML, *, expand: bool = False
) -> list[ServiceDefinition]:
    """Decode the definitions in a document.

    Args:
        content: what the document was parsed to.
        location: first part of each mistake, such as the file's name.
        form: the document's form; Consul's forms are accepted as the agent accepts them.
        expand: as in `read_definitions`.

    Raises:
        DefinitionError: the document has mistakes; it holds all of them, with their locations.
    """
    mistakes: list[str] = []
    decoded = _decode(Document(content, form, location), expand=expand, mistakes=mistakes)
    return _all_or_mistakes([decoded], mistakes, log_warning)


_Decoded = tuple[TableDecoder, str, list[DecodedService]]
"""The decoder of a document, the document's location, and its services."""


def _decode(document: Document, *, expand: bool, mistakes: list[str]) -> _Decoded:
    decoder = TableDecoder(document.form, expand=expand, location=document.location)
    if document.form is Form.TOML:
        tables = _services_of_toml(document.content, document.location, mistakes)
    else:
        tables = consul_form.services_of(
            document.content, document.location, mistakes, is_hcl=document.form is Form.HCL
        )
    services = [decoder.decode_service(table, number) for number, table in enumerate(tables, 1)]
    mistakes += decoder.mistakes
    return decoder, document.location, services


def _services_of_toml(
    content: Mapping[str, Any], location: str, mistakes: list[str]
) -> list[Mapping[str, Any]]:
    mistakes_before = len(mistakes)
    mistakes += [unknown_key(location, key, ["service"]) for key in content if key != "service"]
    tables = content.get("service", [])
    if isinstance(tables, Mapping):
        tables = [tables]
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        mistakes.append(f"{location}: service must be a table: write [[service]]")
        return []
    if not tables and len(mistakes) == mistakes_before:
        mistakes.append(f"{location}: defines no service: write [[service]], with name and port")
    return tables


def _all_or_mistakes(
    decoded: list[_Decoded], mistakes: list[str], on_warning: Callable[[str], None]
) -> list[ServiceDefinition]:
    placed, ids = [], []
    secrets: dict[str, str] = {}
    for decoder, location, services in decoded:
        secrets.update(decoder.secrets)
        for service in services:
            place = Place(location, service.place, service.id_is_name)
            if service.id:
                ids.append((service.id, place))
            if service.definition is not None:
                placed.append((service.definition, place))
    # The content of a secret file may be part of an id: what was written is reported instead.
    mistakes += [
        _as_written(mistake, secrets)
        for mistake in [*service_collisions(ids, placed), *check_collisions(placed)]
    ]
    if mistakes:
        raise DefinitionError(mistakes)
    for decoder, _, _ in decoded:
        for warning in decoder.warnings:
            on_warning(_as_written(warning, secrets))
    return [definition for definition, _ in placed]


def _as_written(text: str, secrets: Mapping[str, str]) -> str:
    for secret, written in secrets.items():
        text = text.replace(secret, written)
    return text
