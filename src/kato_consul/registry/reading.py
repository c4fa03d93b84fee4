"""Definitions as people write them: TOML, one ``[[service]]`` table for each instance.

Nothing is registered from a file with a mistake in it, and every mistake is told at once, with its
place, so that one round of mending is enough.
"""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from kato_consul.errors import DefinitionError
from kato_consul.registry.definition import CheckDefinition, ServiceDefinition, mistake_in

T = TypeVar("T", CheckDefinition, ServiceDefinition)


def read_definitions(path: Path) -> list[ServiceDefinition]:
    """The definitions in a TOML file.

    Raises:
        DefinitionError: the file cannot be read, or has mistakes: all of them, with their places.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError([f"{path}: cannot be read: {error.strerror}"]) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise DefinitionError([f"{path}: is no TOML: {error}"]) from error
    return definitions_in(document, str(path))


def definitions_in(document: Mapping[str, Any], place: str) -> list[ServiceDefinition]:
    """The definitions in a TOML document; ``place`` is the file's name.

    Raises:
        DefinitionError: with every mistake in it.
    """
    mistakes = [_unknown(place, key, ["service"]) for key in document if key != "service"]
    tables = document.get("service", [])
    if isinstance(tables, Mapping):
        tables = [tables]
    if not isinstance(tables, list) or not all(isinstance(one, Mapping) for one in tables):
        mistakes.append(f"{place}: service must be a table: write [[service]]")
    elif not tables:
        mistakes.append(f"{place}: defines no service: write [[service]], with name and port")
    else:
        definitions = [
            _read(table, ServiceDefinition, _place_of(place, number, table), mistakes)
            for number, table in enumerate(tables, 1)
        ]
        good = [one for one in definitions if one is not None]
        ids = [one.id for one in good]
        mistakes += [
            f"{place}: the id {repeated!r} is used {ids.count(repeated)} times"
            for repeated in sorted(set(ids))
            if ids.count(repeated) > 1
        ]
    if mistakes:
        raise DefinitionError(mistakes)
    return good


def _place_of(place: str, number: int, table: Mapping[str, Any]) -> str:
    names = (table.get("id"), table.get("name"))
    name = next((one for one in names if isinstance(one, str) and one), None)
    return f"{place}: service {number} ({name})" if name else f"{place}: service {number}"


def _read(table: Mapping[str, Any], kind: type[T], place: str, mistakes: list[str]) -> T | None:
    """The table as a ``kind``; None when it has mistakes, which are added to ``mistakes``."""
    before = len(mistakes)
    known = {one.name: one for one in fields(kind)}
    types = get_type_hints(kind)
    mistakes += [_unknown(place, key, known) for key in table if key not in known]
    found: dict[str, Any] = {}
    for name, one in known.items():
        if name not in table:
            if one.default is MISSING and one.default_factory is MISSING:
                mistakes.append(f"{place}: {name} is missing")
        elif name == "check" and isinstance(table[name], Mapping):
            found[name] = _read(table[name], CheckDefinition, f"{place}: check", mistakes)
        elif name == "check":
            mistakes.append(f"{place}: check must be a table, not {table[name]!r}")
        else:
            try:
                found[name] = msgspec.convert(table[name], types[name])
            except msgspec.ValidationError as error:
                mistakes.append(f"{place}: {name}: {error}: it is {table[name]!r}")
                continue
            if mistake := mistake_in(one.metadata, found[name]):
                mistakes.append(f"{place}: {name}: {mistake}")
    if len(mistakes) > before:
        return None
    try:
        return kind(**found)
    except DefinitionError as error:  # a rule over several fields
        mistakes += [f"{place}: {one}" for one in error.mistakes]
        return None


def _unknown(place: str, key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{place}: {key} is not known: {hint}"
