"""Decoder: turns the tables of a document into definitions.

Each value is decoded by the type and the rule of its field. All mistakes are collected, each with
its location.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from kato_consul._definitions.interpolation import Interpolation
from kato_consul._definitions.rules import broken_rule
from kato_consul._definitions.schema import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    TaggedAddress,
    Weights,
)
from kato_consul.errors import DefinitionError

T = TypeVar("T", CheckDefinition, ProbeDefinition, ServiceDefinition, TaggedAddress, Weights)

_NESTED_TABLES: dict[str, type[Any]] = {
    "check": CheckDefinition,
    "probe": ProbeDefinition,
    "weights": Weights,
}

_NO_SCRIPTS = "script checks are not supported: write http or tcp"
_HTTP_OR_TCP = "write http or tcp"
_SIDECARS = "register sidecars and proxies with Consul's own tools"
_NOT_SENT = "it would not be sent to the agent: leave it out"
_TAGS = "the tags stay as they are defined here"

_UNSUPPORTED = {
    "ttl": "a TTL check needs heartbeats: leave it out, and let kato-consul run probe the instance",
    "args": _NO_SCRIPTS,
    "script": _NO_SCRIPTS,
    "shell": _NO_SCRIPTS,
    "dockercontainerid": _NO_SCRIPTS,
    "grpc": _HTTP_OR_TCP,
    "grpcusetls": _HTTP_OR_TCP,
    "h2ping": _HTTP_OR_TCP,
    "udp": _HTTP_OR_TCP,
    "aliasnode": _HTTP_OR_TCP,
    "aliasservice": _HTTP_OR_TCP,
    "token": "set the token with CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN",
    "namespace": "set it with CONSUL_NAMESPACE",
    "partition": "set it with CONSUL_PARTITION",
    "kind": _SIDECARS,
    "connect": _SIDECARS,
    "proxy": _SIDECARS,
    "proxydestination": _SIDECARS,
    "socketpath": "KATO listens on a port",
    "enabletagoverride": _TAGS,
    "disableredirects": _NOT_SENT,
    "outputmaxsize": _NOT_SENT,
    "tlsservername": _NOT_SENT,
}
"""Consul's fields that are not supported here, and what to do instead."""

_CHECK_FIELDS = ("deregister_critical_service_after", "interval", "timeout", "http", "tcp")
"""Fields of checks that users write directly into ``[[service]]`` by mistake."""

_ALIASES = {"checkid": "id", "serviceid": "id"}

_PLACEHOLDERS = {"name": "kato", "port": 1, "address": "localhost"}
"""Values for required fields that are missing or wrong, so that rules over several fields are
checked all the same."""

_TYPE_DESCRIPTIONS = {
    str: "a string in quotes",
    int: "a whole number",
    bool: "true or false",
    tuple[str, ...]: "a list of strings",
    dict[str, str]: "a table of strings",
    dict[str, list[str]]: "a table of lists of strings",
}


class TableDecoder:
    """Decodes tables into definitions and appends what is wrong to ``mistakes``.

    With ``consul_json``, names of fields are accepted as Consul's agent accepts them: in any case,
    with or without underscores. A field of Consul's that is not supported here is ignored if its
    value is empty (``false``, ``""``, ``null``).
    """

    def __init__(self, mistakes: list[str], *, consul_json: bool) -> None:
        self._mistakes = mistakes
        self._consul_json = consul_json

    def decode(self, table: Any, kind: type[T], location: str) -> T | None:
        """Return the table as a ``kind``, or None if it has mistakes."""
        if not isinstance(table, Mapping):
            self._mistakes.append(f"{location} must be a table, not {table!r}")
            return None
        mistakes_before = len(self._mistakes)
        known = {one.name: one for one in fields(kind)}
        types = get_type_hints(kind)
        values = self._values_by_field(table, known, location)
        decoded: dict[str, Any] = {}
        for name, one in known.items():
            count = len(self._mistakes)
            required = one.default is MISSING and one.default_factory is MISSING
            if name in values:
                decoded[name] = self._decode_field(name, values[name], one, types[name], location)
            elif required:
                self._mistakes.append(f"{location}: {name} is missing")
            if len(self._mistakes) > count:
                decoded.pop(name, None)
                if required:
                    decoded[name] = _PLACEHOLDERS[name]
        try:
            definition = kind(**decoded)
        except DefinitionError as error:  # a rule over several fields
            self._mistakes += [f"{location}: {mistake}" for mistake in error.mistakes]
        return definition if len(self._mistakes) == mistakes_before else None

    def _values_by_field(
        self, table: Mapping[str, Any], known: Collection[str], location: str
    ) -> dict[str, Any]:
        """Return the table's values by the names of the definition's fields."""
        names = {_normalized(name): name for name in known}
        values = {}
        for key, value in table.items():
            name = key if key in known else None
            if self._consul_json and name is None:
                name = names.get(_ALIASES.get(_normalized(key), _normalized(key)))
            unsupported = _normalized(key) in _UNSUPPORTED
            if self._consul_json and (value is None or (unsupported and _is_empty(value))):
                continue
            if name is None:
                self._mistakes.append(unknown_key(location, key, known))
            else:
                values[name] = value
        return values

    def _decode_field(
        self, name: str, value: Any, one: Field[Any], type_: Any, location: str
    ) -> Any:
        if name == "probe" and isinstance(value, str):
            if value != "kato":
                self._mistakes.append(
                    f'{location}: probe: {value!r} is not known: write probe = "kato", or a table'
                )
            return ProbeDefinition()
        if name in _NESTED_TABLES:
            return self.decode(value, _NESTED_TABLES[name], f"{location}: {name}")
        if name == "checks":
            if not isinstance(value, list):
                self._mistakes.append(f"{location}: checks must be a list of tables, not {value!r}")
                return None
            return tuple(
                self.decode(check, CheckDefinition, f"{location}: checks {number}")
                for number, check in enumerate(value, 1)
            )
        if name == "tagged_addresses" and isinstance(value, Mapping):
            return {
                tag: self.decode(address, TaggedAddress, f"{location}: {name}: {tag}")
                for tag, address in value.items()
            }
        return self._decode_value(value, one, type_, f"{location}: {name}")

    def _decode_value(self, written: Any, one: Field[Any], type_: Any, location: str) -> Any:
        interpolation = Interpolation()
        value = interpolation.apply(written)
        if interpolation.mistakes:
            self._mistakes += [f"{location}: {mistake}" for mistake in interpolation.mistakes]
            return None
        if interpolation.secret and one.metadata.get("shown_by_consul"):
            self._mistakes.append(
                f"{location}: a file's content is not allowed here, because Consul shows the "
                f"target of a check: put it into header"
            )
            return None
        try:
            # Interpolated values are text: ${PORT} must convert to a number all the same.
            converted = msgspec.convert(value, type_, strict=not interpolation.changed)
        except msgspec.ValidationError:
            # A value that may be a secret is not repeated; `repr` omits such fields too.
            repeated = f": it is {written!r}" if one.repr else ""
            self._mistakes.append(f"{location}: must be {_type_description(type_)}{repeated}")
            return None
        if mistake := broken_rule(one.metadata, converted):
            if interpolation.secret:
                mistake = f"the value of {written!r} cannot be used here"
            self._mistakes.append(f"{location}: {mistake}")
        return converted


def unknown_key(location: str, key: str, known: Collection[str]) -> str:
    """Return the mistake for a key that is not known, with what to write instead."""
    if _normalized(key) in _UNSUPPORTED:
        return f"{location}: {key} is not supported here: {_UNSUPPORTED[_normalized(key)]}"
    if key in _CHECK_FIELDS:
        return f"{location}: {key} belongs in check or probe: check = {{ {key} = … }}"
    similar = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"known keys are {', '.join(known)}"
    return f"{location}: {key} is not known: {hint}"


def _is_empty(value: Any) -> bool:
    """Return whether a value has no content; ``{"native": false}`` has none."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return not value


def _type_description(type_: Any) -> str:
    alternatives = [one for one in get_args(type_) if one is not NoneType]
    if type_ not in _TYPE_DESCRIPTIONS and len(alternatives) == 1:
        (type_,) = alternatives
    return _TYPE_DESCRIPTIONS.get(type_, "a table")


def _normalized(name: str) -> str:
    return name.replace("_", "").lower()
