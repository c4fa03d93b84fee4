"""Decoder: turns the tables of a document into definitions.

Each value is decoded by the type and the rule of its field. All mistakes are collected, each with
its location.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from kato_consul._definitions import consul_form
from kato_consul._definitions.check_definition import CheckDefinition
from kato_consul._definitions.document import Form
from kato_consul._definitions.interpolation import Interpolation
from kato_consul._definitions.rules import broken_rule
from kato_consul._definitions.schema import ProbeDefinition, ServiceDefinition
from kato_consul._definitions.unsupported import unknown_key
from kato_consul.errors import DefinitionError

T = TypeVar("T")

_PLACEHOLDERS = {
    "name": "kato",
    "port": 1,
    "address": "localhost",
    "destination_name": "kato",
    "local_bind_port": 1,
}
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


@dataclass(frozen=True)
class DecodedService:
    """A table of a document, decoded as far as that was possible.

    Attributes:
        definition: None if the table has mistakes.
        id: the instance's id; empty if it is not known.
        place: its place in the document, such as ``service 1 (kato-1)``.
        id_is_name: it has no id of its own, and so, as Consul has it, that of its service's name.
    """

    definition: ServiceDefinition | None
    id: str
    place: str
    id_is_name: bool


class TableDecoder:
    """Decodes the tables of one document, and collects what is wrong with them.

    In Consul's forms, fields are named and valued as Consul's agent accepts them: see
    `kato_consul._definitions.consul_form`.

    Attributes:
        mistakes: what is wrong, each with its location.
        warnings: what the user should know, each with its location.
        secrets: for each text into which the content of a file was inserted, what was written.
    """

    def __init__(self, form: Form, *, expand: bool, location: str) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self.secrets: dict[str, str] = {}
        self._consul = form is not Form.TOML
        self._hcl = form is Form.HCL
        self._expand = expand or form is Form.TOML
        self._location = location
        self._service_id = ""

    def decode_service(self, table: Mapping[str, Any], number: int) -> DecodedService:
        """Decode one service; ``number`` is its place among the services of the document."""
        written = self._text_of(table, "id"), self._text_of(table, "name")
        shown = written[0] or written[1]
        place = f"service {number} ({shown})" if shown else f"service {number}"
        id_is_name = self._consul and not written[0]
        texts = [Interpolation().apply(text) if self._expand else text for text in written]
        self._service_id = texts[0] or (texts[1] if id_is_name else "")
        definition = self.decode(table, ServiceDefinition, f"{self._location}: {place}")
        service_id = self._service_id if definition is None else definition.id
        return DecodedService(definition, service_id, place, id_is_name)

    def decode(self, table: Any, kind: type[T], location: str) -> T | None:
        """Return the table as a ``kind``, a class of definitions; None if it has mistakes."""
        if not isinstance(table, Mapping):
            self.mistakes.append(f"{location} must be a table, not {table!r}")
            return None
        mistakes_before = len(self.mistakes)
        known: dict[str, Field[Any]] = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
        types = get_type_hints(kind)
        values = self._values_by_field(table, known, kind, location)
        if kind is CheckDefinition:
            self._check_what_was_written(values, len(self.mistakes) > mistakes_before, location)
        decoded: dict[str, Any] = {}
        for name, one in known.items():
            count = len(self.mistakes)
            required = one.default is MISSING and one.default_factory is MISSING
            if name in values:
                decoded[name] = self._decode_field(name, values[name], one, types[name], location)
            elif required:
                self.mistakes.append(f"{location}: {name} is missing")
            if len(self.mistakes) > count:
                decoded.pop(name, None)
                if required:
                    decoded[name] = _PLACEHOLDERS[name]
        try:
            definition = kind(**decoded)
        except DefinitionError as error:  # a rule over several fields
            self.mistakes += [f"{location}: {mistake}" for mistake in error.mistakes]
        return definition if len(self.mistakes) == mistakes_before else None

    def _check_what_was_written(
        self, values: Mapping[str, Any], has_unknown_keys: bool, location: str
    ) -> None:
        """Apply the rules for checks that depend on which fields were given."""
        if "ttl" in values:
            if "interval" in values:
                self.mistakes.append(f"{location}: interval: a ttl check has none: leave it out")
            self.warnings.append(
                f"{location}: ttl: the service itself must report its health to the agent within "
                f"each {values['ttl']}; otherwise the check is critical"
            )
        if "alias_node" in values:
            self.warnings.append(
                f"{location}: alias_node: the agents of Consul 1.8 end with a panic if they have "
                f"no node {values['alias_node']!r}"
            )
        if self._consul and not has_unknown_keys and not consul_form.has_target(values):
            self.mistakes.append(f"{location}: {consul_form.NO_TARGET}")

    def _values_by_field(
        self, table: Mapping[str, Any], known: Collection[str], kind: type, location: str
    ) -> dict[str, Any]:
        """Return the table's values by the names of the definition's fields."""
        if self._consul:
            table, mistakes = consul_form.fields_of(table, known, kind, self._service_id)
            self.mistakes += [f"{location}: {mistake}" for mistake in mistakes]
            if kind is ServiceDefinition and isinstance(table.get("name"), str):
                table.setdefault("id", table["name"])
        self.mistakes += [
            unknown_key(location, key, known, kind) for key in table if key not in known
        ]
        return {key: value for key, value in table.items() if key in known}

    def _decode_field(
        self, name: str, value: Any, one: Field[Any], type_: Any, location: str
    ) -> Any:
        if name == "probe" and isinstance(value, str):
            if value != "kato":
                self.mistakes.append(
                    f'{location}: probe: {value!r} is not known: write probe = "kato", or a table'
                )
            return ProbeDefinition()
        type_ = _without_none(type_)
        item = _item_type(type_)
        is_list = get_origin(type_) is tuple
        if self._consul:
            value = consul_form.unwrapped(value, type_, is_hcl=self._hcl)
        if dataclasses.is_dataclass(type_):
            return self.decode(value, type_, f"{location}: {name}")  # type: ignore[arg-type]
        if not dataclasses.is_dataclass(item):
            return self._decode_value(value, one, type_, f"{location}: {name}")
        if is_list:
            if not isinstance(value, list):
                self.mistakes.append(f"{location}: {name} must be a list of tables, not {value!r}")
                return None
            return tuple(
                self.decode(table, item, f"{location}: {name} {number}")  # type: ignore[arg-type]
                for number, table in enumerate(value, 1)
            )
        if not isinstance(value, Mapping):
            self.mistakes.append(f"{location}: {name} must be a table of tables, not {value!r}")
            return None
        if self._consul:
            value = {
                key: consul_form.unwrapped(table, item, is_hcl=self._hcl)
                for key, table in value.items()
            }
        return {
            key: self.decode(table, item, f"{location}: {name}: {key}")  # type: ignore[arg-type]
            for key, table in value.items()
        }

    def _decode_value(self, written: Any, one: Field[Any], type_: Any, location: str) -> Any:
        interpolation = Interpolation()
        value = interpolation.apply(written) if self._expand else written
        if interpolation.mistakes:
            self.mistakes += [f"{location}: {mistake}" for mistake in interpolation.mistakes]
            return None
        if interpolation.secret and one.metadata.get("shown_by_consul"):
            self.mistakes.append(
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
            description = _TYPE_DESCRIPTIONS.get(type_, "a table")
            self.mistakes.append(f"{location}: must be {description}{repeated}")
            return None
        if self._consul and one.name == consul_form.REAP_TIME:
            converted, warning = consul_form.raised_reap_time(converted)
            self.warnings += [f"{location}: {warning}"] if warning else []
        if interpolation.secret and isinstance(converted, str):
            self.secrets[converted] = str(written)
        if mistake := broken_rule(one.metadata, converted):
            if interpolation.secret:
                mistake = f"the value of {written!r} cannot be used here"
            self.mistakes.append(f"{location}: {mistake}")
        return converted

    def _text_of(self, table: Mapping[str, Any], name: str) -> str:
        """Return the text of a field as written; empty if there is none."""
        values = consul_form.values_of(table, name) if self._consul else [table.get(name)]
        return next((value for value in values if isinstance(value, str)), "")


def _without_none(type_: Any) -> Any:
    alternatives = [one for one in get_args(type_) if one is not NoneType]
    is_optional = NoneType in get_args(type_)
    return alternatives[0] if is_optional and len(alternatives) == 1 else type_


def _item_type(type_: Any) -> Any:
    """Return the type of the items of a list or of a table; None for other types."""
    arguments = get_args(type_)
    if get_origin(type_) is tuple:
        return arguments[0]
    return arguments[1] if get_origin(type_) is dict else None
