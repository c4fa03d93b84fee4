"""Definitions as people write them: TOML, one ``[[service]]`` table for each instance, or Consul's
own JSON (``{"service": {…}}`` or ``{"services": […]}``), in a file whose name ends in ``.json``.

Nothing is registered from a file with a mistake in it, and every mistake is told at once, with its
place, so that one round of mending is enough.
"""

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from kato_consul.errors import DefinitionError
from kato_consul.registry.definition import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    TaggedAddress,
    Weights,
    mistake_in,
)
from kato_consul.registry.expanding import Expansion

T = TypeVar("T", CheckDefinition, ProbeDefinition, ServiceDefinition, TaggedAddress, Weights)

_TABLES: dict[str, type[Any]] = {
    "check": CheckDefinition,
    "probe": ProbeDefinition,
    "weights": Weights,
}

_HINTS = {
    "ttl": "a TTL check has to be fed: leave it out, and let kato-consul run probe the instance",
    "args": "the agent's scripts are not for us: write http or tcp",
    "script": "the agent's scripts are not for us: write http or tcp",
    "grpc": "write http or tcp",
    "token": "give tokens with CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN",
    "connect": "sidecars are registered with Consul's own tools",
    "proxy": "proxies are registered with Consul's own tools",
}
"""For what Consul knows and we do not take."""

_ALIASES = {"checkid": "id", "serviceid": "id"}


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
    if of_consul:
        return definitions_in(_as_toml_has_it(document, str(path)), str(path), of_consul=True)
    return definitions_in(document, str(path))


def definitions_in(
    document: Mapping[str, Any], place: str, *, of_consul: bool = False
) -> list[ServiceDefinition]:
    """The definitions in a document; ``place`` is the file's name.

    ``of_consul``: names of fields are taken as Consul's agent takes them, in any case and with or
    without underscores.

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
        reader = _Reader(mistakes, loose=of_consul)
        definitions = [
            reader.read(table, ServiceDefinition, _place_of(place, number, table))
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


class _Reader:
    """Reads tables as definitions; adds what is wrong to ``mistakes``."""

    def __init__(self, mistakes: list[str], *, loose: bool) -> None:
        self._mistakes = mistakes
        self._loose = loose

    def read(self, table: Any, kind: type[T], place: str) -> T | None:
        """The table as a ``kind``; None when it has mistakes."""
        if not isinstance(table, Mapping):
            self._mistakes.append(f"{place} must be a table, not {table!r}")
            return None
        before = len(self._mistakes)
        known = {one.name: one for one in fields(kind)}
        types = get_type_hints(kind)
        given = self._given(table, known, place)
        found: dict[str, Any] = {}
        for name, one in known.items():
            if name in given:
                found[name] = self._value(name, given[name], one, types[name], place)
            elif one.default is MISSING and one.default_factory is MISSING:
                self._mistakes.append(f"{place}: {name} is missing")
        if len(self._mistakes) > before:
            return None
        try:
            return kind(**found)
        except DefinitionError as error:  # a rule over several fields
            self._mistakes += [f"{place}: {one}" for one in error.mistakes]
            return None

    def _given(
        self, table: Mapping[str, Any], known: Collection[str], place: str
    ) -> dict[str, Any]:
        """The table's values by the names that we have for them."""
        names = {_bare(name): name for name in known}
        given = {}
        for key, value in table.items():
            name = key if key in known else None
            if self._loose and name is None:
                name = names.get(_ALIASES.get(_bare(key), _bare(key)))
            if name is None:
                self._mistakes.append(_unknown(place, key, known))
            else:
                given[name] = value
        return given

    def _value(self, name: str, value: Any, one: Field[Any], wanted: Any, place: str) -> Any:
        if name == "probe" and value == "kato":
            return ProbeDefinition()
        if name in _TABLES:
            return self.read(value, _TABLES[name], f"{place}: {name}")
        if name == "checks":
            if not isinstance(value, list):
                self._mistakes.append(f"{place}: checks must be a list of tables, not {value!r}")
                return None
            return tuple(
                self.read(check, CheckDefinition, f"{place}: checks {number}")
                for number, check in enumerate(value, 1)
            )
        if name == "tagged_addresses" and isinstance(value, Mapping):
            return {
                tag: self.read(address, TaggedAddress, f"{place}: {name}: {tag}")
                for tag, address in value.items()
            }
        return self._plain(f"{place}: {name}", value, one, wanted)

    def _plain(self, place: str, written: Any, one: Field[Any], wanted: Any) -> Any:
        expansion = Expansion()
        value = expansion.of(written)
        if expansion.mistakes:
            self._mistakes += [f"{place}: {mistake}" for mistake in expansion.mistakes]
            return None
        try:
            # What comes from outside is text: ${PORT} is a number all the same.
            found = msgspec.convert(value, wanted, strict=not expansion.changed)
        except msgspec.ValidationError as error:
            self._mistakes.append(f"{place}: {error}: it is {written!r}")
            return None
        if mistake := mistake_in(one.metadata, found):
            if expansion.secret:
                mistake = f"what {written!r} stands for cannot be used here"
            self._mistakes.append(f"{place}: {mistake}")
        return found


def _as_toml_has_it(document: Any, place: str) -> dict[str, Any]:
    """Consul's JSON as a document of ours: one service, several, or the body of an API call."""
    if not isinstance(document, Mapping):
        raise DefinitionError([f'{place}: must be an object: {{"service": {{…}}}}'])
    if any(_bare(key) == "name" for key in document):
        return {"service": [document]}
    services = []
    for key, value in document.items():
        if key == "service":
            services.append(value)
        elif key == "services" and isinstance(value, list):
            services += value
        else:
            raise DefinitionError([_unknown(place, key, ["service", "services"])])
    return {"service": services}


def _place_of(place: str, number: int, table: Mapping[str, Any]) -> str:
    names = (table.get("id"), table.get("name"))
    name = next((one for one in names if isinstance(one, str) and one), None)
    return f"{place}: service {number} ({name})" if name else f"{place}: service {number}"


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def _unknown(place: str, key: str, known: Collection[str]) -> str:
    if _bare(key) in _HINTS:
        return f"{place}: {key} is not taken here: {_HINTS[_bare(key)]}"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{place}: {key} is not known: {hint}"
